//! The tower layer, its service and its future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::body::PerfBody;
use super::endpoint::Outcome;
use super::guard::InFlight;
use super::method;
use super::store::{Store, UNMATCHED};

/// Measures every request that passes; made by [`Monitor::layer`](crate::Monitor::layer).
///
/// Each request is counted exactly once: when the response's body has ended, when the service
/// fails or panics, or when the client goes away.
///
/// With axum use it in `Router::layer`, where the matched route is known; wrapped around a whole
/// router as a service it sees no route. Put it outside of layers for time-outs and compression,
/// so that it measures what the client gets. A layer that catches panics may be on either side.
#[derive(Clone, Debug)]
pub struct PerfLayer {
    store: Arc<Store>,
}

/// A request extension that names the route when no router does; without it and without axum's
/// `MatchedPath` a request counts as `__unmatched__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteName(pub &'static str);

impl PerfLayer {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

impl<S> Layer<S> for PerfLayer {
    type Service = PerfService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PerfService {
            store: Arc::clone(&self.store),
            inner,
        }
    }
}

/// The service of [`PerfLayer`].
#[derive(Clone, Debug)]
pub struct PerfService<S> {
    store: Arc<Store>,
    inner: S,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for PerfService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<PerfBody<ResBody>>;
    type Error = S::Error;
    type Future = PerfFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let method = method::index(request.method());
        let is_head = *request.method() == Method::HEAD;
        let store = Arc::clone(&self.store);
        let mut in_flight = InFlight::new(store, method, route(request.extensions()));
        let inner = in_flight.run(|| self.inner.call(request));
        PerfFuture {
            inner,
            in_flight: Some(in_flight),
            is_head,
        }
    }
}

#[cfg(feature = "axum")]
fn route(extensions: &http::Extensions) -> &str {
    match extensions.get::<axum::extract::MatchedPath>() {
        Some(path) => path.as_str(),
        None => named_route(extensions),
    }
}

#[cfg(not(feature = "axum"))]
fn route(extensions: &http::Extensions) -> &str {
    named_route(extensions)
}

fn named_route(extensions: &http::Extensions) -> &'static str {
    extensions
        .get::<RouteName>()
        .map_or(UNMATCHED, |name| name.0)
}

pin_project! {
    /// The future of [`PerfService`].
    ///
    /// Dropped before it is ready, it counts the request as aborted with status 499.
    #[derive(Debug)]
    pub struct PerfFuture<F> {
        #[pin]
        inner: F,
        in_flight: Option<InFlight>,
        is_head: bool,
    }
}

impl<F, ResBody, E> Future for PerfFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Body,
{
    type Output = Result<Response<PerfBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let result = match this.in_flight {
            Some(in_flight) => ready!(in_flight.run(|| inner.poll(cx))),
            // Polled after it was ready: the inner future decides what that means.
            None => ready!(inner.poll(cx)),
        };
        let mut in_flight = this.in_flight.take();
        Poll::Ready(match result {
            Ok(response) => {
                let is_head = *this.is_head;
                Ok(PerfBody::wrap(response, in_flight, is_head))
            }
            Err(error) => {
                if let Some(in_flight) = &mut in_flight {
                    in_flight.finish(Outcome::Error);
                }
                Err(error)
            }
        })
    }
}
