//! The switch in front of the API: 503 until the graph has built what the routes need.
//!
//! Both listeners are bound before anything is started, so that probes, start-up views and docs
//! work from the first moment; the API's own routes arrive through this gate later.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};
use startup_progress::{Progress, Readiness};
use tower::ServiceExt as _;

use super::problem::ApiError;

/// Cheap clone of one switch.
#[derive(Clone, Debug)]
pub struct Gate {
    routes: Arc<OnceLock<Router>>,
    progress: Progress,
}

impl Gate {
    /// A closed gate; `progress` tells clients why.
    pub fn new(progress: Progress) -> Self {
        Self {
            routes: Arc::default(),
            progress,
        }
    }

    /// Lets requests through to these routes from now on; only the first call counts.
    pub fn open(&self, routes: Router) {
        let already_open = self.routes.set(routes).is_err();
        debug_assert!(!already_open, "the graph runs once");
    }

    /// Answers one request.
    pub async fn call(&self, request: Request) -> Response {
        match self.routes.get() {
            Some(routes) => match routes.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None => self.closed().into_response(),
        }
    }

    /// The gate as the fallback of a router.
    pub fn into_service(
        self,
    ) -> impl tower::Service<
        Request,
        Response = Response,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static {
        tower::service_fn(move |request| {
            let gate = self.clone();
            async move { Ok(gate.call(request).await) }
        })
    }

    fn closed(&self) -> ApiError {
        let detail = match self.progress.readiness() {
            Readiness::Failed => "the service could not start",
            Readiness::Draining => "the service is ending",
            _ => "the service is starting; /startup shows how far it is",
        };
        ApiError::Unavailable {
            detail: detail.to_owned(),
            retry_after: Duration::from_secs(1),
        }
    }
}
