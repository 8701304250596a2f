//! The admin listener: metrics, start-up and the database for operators, behind a key if there is one.

use axum::{
    Router,
    extract::Request,
    http::header::AUTHORIZATION,
    middleware::{self, Next},
    response::IntoResponse,
};
use constant_time_eq::constant_time_eq;
use perf_monitor::Monitor;
use startup_progress::Progress;

use super::{database, gate::Gate, guarded, problem::ApiError};
use crate::config::Secret;

/// The whole admin listener. Without a monitor there is no `/metrics`; the views of the database arrive
/// through `gate`.
pub fn admin(
    progress: &Progress,
    gate: &Gate,
    monitor: Option<&Monitor>,
    key: Option<Secret>,
) -> Router {
    let mut routes = Router::new()
        .merge(startup_progress::http::router(progress.clone()))
        .merge(database::gated(gate));
    if let Some(monitor) = monitor {
        routes = routes.merge(perf_monitor::http::router(monitor.clone()));
    }
    let routes = routes
        .fallback(async || ApiError::NotFound("no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    match key {
        None => guarded(routes),
        Some(key) => guarded(routes.layer(middleware::from_fn(
            move |request: Request, next: Next| {
                let key = key.clone();
                async move {
                    if is_probe(&request) || carries(&request, &key) {
                        next.run(request).await
                    } else {
                        ApiError::Unauthorized.into_response()
                    }
                }
            },
        ))),
    }
}

/// Probes come from an orchestrator that holds no key; they tell nothing but the state.
fn is_probe(request: &Request) -> bool {
    matches!(request.uri().path(), "/livez" | "/readyz" | "/startupz")
}

fn carries(request: &Request, key: &Secret) -> bool {
    request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .is_some_and(|given| constant_time_eq(given, key.expose().as_bytes()))
}
