//! The axum router: probes for orchestrators, a snapshot and a stream for people and tools.
//!
//! ```
//! # use startup_progress::Progress;
//! let progress = Progress::new("reference-service");
//! let app: axum::Router = axum::Router::new()
//!     .route("/hello", axum::routing::get(async || "hello"))
//!     .merge(startup_progress::http::router(progress));
//! ```

mod events;
mod probes;
mod sse;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::Progress;

/// Bounds and times of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpConfig {
    /// Event streams and waiting `/startupz` probes at the same time (default 64). A stream beyond
    /// gets 503 with `Retry-After`; a probe beyond is answered without waiting.
    pub clients_max: usize,
    /// Least time between two frames to one client (default 50 ms); changes in between are one
    /// frame.
    pub frame_interval: Duration,
    /// A comment is sent when nothing else was for so long (default 15 s, at least 1 s), so that
    /// proxies keep the connection and a lost client is noticed. `Duration::MAX` means never.
    pub heartbeat: Duration,
    /// The longest that `/startupz?wait=` may hold a request (default 30 s); longer wishes are cut.
    pub wait_max: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            clients_max: 64,
            frame_interval: Duration::from_millis(50),
            heartbeat: Duration::from_secs(15),
            wait_max: Duration::from_secs(30),
        }
    }
}

/// `/livez`, `/readyz`, `/startupz`, `/startup` and `/startup/events`, with the default bounds.
///
/// All answer GET and HEAD with `Cache-Control: no-store`; other methods get 405 with `Allow`. The
/// router has no state left to give, so it can be merged into any other.
pub fn router(progress: Progress) -> Router {
    router_with(progress, HttpConfig::default())
}

/// The same router with bounds of your own.
pub fn router_with(progress: Progress, config: HttpConfig) -> Router {
    // A semaphore has an upper bound of its own; nobody means more clients than that.
    let clients = config.clients_max.min(Semaphore::MAX_PERMITS);
    let config = HttpConfig {
        frame_interval: config.frame_interval.min(LONGEST),
        heartbeat: config.heartbeat.clamp(Duration::from_secs(1), LONGEST),
        ..config
    };
    let shared = Shared {
        progress,
        config,
        clients: Arc::new(Semaphore::new(clients)),
    };
    Router::new()
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/startupz", get(probes::startupz))
        .route("/startup", get(snapshot))
        .route("/startup/events", get(events::events))
        .route_layer(middleware::map_response(no_store))
        .with_state(shared)
}

/// A year: as good as never, and a clock can still count it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug, Clone)]
struct Shared {
    progress: Progress,
    config: HttpConfig,
    /// A permit for every client that is held for a while.
    clients: Arc<Semaphore>,
}

async fn snapshot(State(shared): State<Shared>) -> Response {
    json(StatusCode::OK, &shared.progress.snapshot())
}

async fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, to_json(body)).into_response()
}

fn to_json(body: &impl Serialize) -> String {
    // Only maps with keys that are no text, or a hand-written `Serialize`, could make this fail.
    serde_json::to_string(body).expect("our own types are plain structs with text keys")
}
