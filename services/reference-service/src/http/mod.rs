//! HTTP: from the socket to the handlers.
//!
//! A request passes `listener` (timeouts, connection cap), the panic guard, `request_id`, the
//! bare-error filter, then either the views that always work (probes, start-up, docs) or the
//! `gate` and behind it metrics, the database's `scope`, deadline, body limit and the handlers of
//! `tasks` and `records`.

pub mod conditional;
pub mod database;
pub mod docs;
pub mod extract;
pub mod gate;
pub mod kinds;
pub mod listener;
pub mod openapi;
pub mod page;
pub mod problem;
#[expect(
    unused_qualifications,
    reason = "the macros of utoipa write paths out in full"
)]
pub mod records;
pub mod request_id;
pub mod scope;
#[expect(
    unused_qualifications,
    reason = "the macros of utoipa write paths out in full"
)]
pub mod tasks;

mod admin;
mod bare_errors;
mod rules;

use std::{any::Any, future::Future, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::header::CONTENT_LENGTH,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use db_pool::{Scope, ScopeLayer};
use perf_monitor::Monitor;
use startup_progress::Progress;
use tower_http::catch_panic::CatchPanicLayer;

pub use self::admin::admin;
use self::{gate::Gate, problem::ApiError};
use crate::{config::HttpConfig, state::AppState};

/// The routes of the API with everything that belongs to one of its requests.
///
/// Needs no socket: tests call it with `tower::ServiceExt::oneshot`.
pub fn api(state: AppState, config: &HttpConfig, monitor: Option<&Monitor>) -> Router {
    let (routes, _) = openapi::routes().split_for_parts();
    let deadline = config.request_timeout;
    let server_timing = config.server_timing;
    let announced_max = config.body_limit.as_u64();
    let body_limit = usize::try_from(announced_max).unwrap_or(usize::MAX);
    let routes = routes
        .with_state(state)
        .fallback(async || ApiError::NotFound("no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(middleware::from_fn(move |request, next| {
            refuse_announced(announced_max, request, next)
        }))
        .layer(middleware::from_fn(move |request, next| {
            within(deadline, request, next)
        }))
        .layer(middleware::from_fn(move |request, next| {
            scope::tell(server_timing, request, next)
        }))
        .layer(ScopeLayer::new().timeout(deadline));
    match monitor {
        Some(monitor) => routes.layer(monitor.layer()),
        None => routes,
    }
}

/// The whole public listener: what always works, and the gate in front of the API.
pub fn public(progress: &Progress, gate: Gate) -> Router {
    let views = Router::new()
        .merge(startup_progress::http::router(progress.clone()))
        .merge(docs::router())
        .fallback_service(gate.into_service());
    guarded(views)
}

/// What every request of every listener passes: panic guard, request id, and errors as problems.
fn guarded(routes: Router) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(bare_errors::as_problem))
        .layer(middleware::from_fn(request_id::assign))
}

/// Gives up a request that takes too long; dropping the handler releases what it holds.
async fn within(deadline: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => ApiError::Timeout(deadline).into_response(),
    }
}

/// Refuses a body that says it is too large before a byte of it is read.
async fn refuse_announced(limit: u64, request: Request, next: Next) -> Response {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limit) {
        return ApiError::TooLarge.into_response();
    }
    next.run(request).await
}

/// Runs work to its end even when the client goes away: a write and the invalidation after it must
/// not be torn apart. It stays in the scope of its request: where the request's time is up, it waits for
/// no connection any more.
///
/// # Errors
///
/// `Internal` when the work panics.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, ApiError> {
    let scope = Scope::current().unwrap_or_default();
    tokio::spawn(async move { scope.run(work).await })
        .await
        .map_err(ApiError::internal)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the cause over"
)]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".to_owned());
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}
