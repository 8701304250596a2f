//! A tower layer that runs each request in a scope of its own.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use super::{CURRENT, Scope};

/// Runs each request in a [`Scope`], so that its statements are counted together and borrowing ends at its deadline.
///
/// The deadline is the earlier one of a fixed time after the request's arrival and of what the request itself says,
/// for example in an extension:
///
/// ```
/// # use std::time::Duration;
/// # struct Request { deadline: Option<tokio::time::Instant> }
/// let layer = db_pool::ScopeLayer::new()
///     .timeout(Duration::from_secs(10))
///     .deadline(|request: &Request| request.deadline);
/// ```
///
/// It bounds the wait for connections only; the request itself runs on. Inside another scope a new one begins.
#[derive(Clone, Copy)]
pub struct ScopeLayer<D = ()> {
    timeout: Option<Duration>,
    deadline: D,
}

impl ScopeLayer {
    /// Without any deadline.
    pub fn new() -> Self {
        let (timeout, deadline) = (None, ());
        Self { timeout, deadline }
    }

    /// Asks each request when it ends; `None` for no deadline of its own.
    pub fn deadline<R, F>(self, deadline: F) -> ScopeLayer<F>
    where
        F: Fn(&R) -> Option<Instant>,
    {
        let timeout = self.timeout;
        ScopeLayer { timeout, deadline }
    }
}

impl<D> ScopeLayer<D> {
    /// Gives every request this much time from its arrival.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl Default for ScopeLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<D> fmt::Debug for ScopeLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeLayer")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl<S, D: Clone> Layer<S> for ScopeLayer<D> {
    type Service = ScopeService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = Self {
            timeout: self.timeout,
            deadline: self.deadline.clone(),
        };
        ScopeService { inner, layer }
    }
}

/// The service that [`ScopeLayer`] makes.
#[derive(Clone, Copy, Debug)]
pub struct ScopeService<S, D = ()> {
    inner: S,
    layer: ScopeLayer<D>,
}

impl<S, D, R> Service<R> for ScopeService<S, D>
where
    S: Service<R>,
    D: Ends<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Scope, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let fixed = self.layer.timeout.map(|timeout| Instant::now() + timeout);
        let own = self.layer.deadline.end(&request);
        let scope = Scope::with_deadline(fixed.into_iter().chain(own).min());
        // What the service does before its future is polled belongs to the request too.
        let future = CURRENT.sync_scope(scope.clone(), || self.inner.call(request));
        CURRENT.scope(scope, future)
    }
}

/// Says when a request ends.
#[expect(unnameable_types, reason = "a bound that callers meet with a closure")]
pub trait Ends<R> {
    fn end(&self, request: &R) -> Option<Instant>;
}

impl<R> Ends<R> for () {
    fn end(&self, _: &R) -> Option<Instant> {
        None
    }
}

impl<R, F: Fn(&R) -> Option<Instant>> Ends<R> for F {
    fn end(&self, request: &R) -> Option<Instant> {
        self(request)
    }
}
