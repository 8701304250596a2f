//! The admin router: the two views of a monitor over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::monitor::Monitor;
use crate::text::PROMETHEUS_CONTENT_TYPE;

/// GET and HEAD `/metrics` (Prometheus text) and `/monitor` (JSON snapshot).
///
/// Both are rendered on a blocking thread, one at a time each; requests that arrived while a
/// rendering ran share the next one, so that a storm of scrapes costs two renderings. An answer is
/// never older than its request, and never to be cached. There is no authentication: merge the
/// router into one that listens on a private address.
pub fn router(monitor: Monitor) -> Router {
    let metrics = View::new(monitor.clone(), PROMETHEUS_CONTENT_TYPE, |monitor| {
        Ok(monitor.prometheus().into_bytes())
    });
    let snapshot = View::new(monitor, "application/json", |monitor| {
        serde_json::to_vec(&monitor.snapshot())
    });
    Router::new()
        .route("/metrics", get(respond).with_state(metrics))
        .route("/monitor", get(respond).with_state(snapshot))
}

async fn respond(State(view): State<View>) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(view.content_type),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    match view.render().await {
        Some(body) => (headers, body).into_response(),
        // An empty scrape would look like a reset of every counter.
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// One way to show the monitor, with its latest rendering.
#[derive(Clone)]
struct View {
    monitor: Monitor,
    content_type: &'static str,
    draw: Draw,
    latest: Arc<Mutex<Option<Latest>>>,
}

type Draw = fn(&Monitor) -> serde_json::Result<Vec<u8>>;

struct Latest {
    begun: Instant,
    body: Bytes,
}

impl View {
    fn new(monitor: Monitor, content_type: &'static str, draw: Draw) -> Self {
        Self {
            monitor,
            content_type,
            draw,
            latest: Arc::default(),
        }
    }

    /// The latest rendering if it began after this call, else a new one; `None` if that failed.
    async fn render(&self) -> Option<Bytes> {
        let arrived = Instant::now();
        // Cancelled here: the place in the queue is given up, nothing else was begun.
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if let Some(latest) = &*latest
            && latest.begun > arrived
        {
            return Some(latest.body.clone());
        }
        let (monitor, draw) = (self.monitor.clone(), self.draw);
        // Cancelled here: the job keeps the lock until it is done, so that clients that hang up
        // cannot make more than one rendering run at a time.
        let job = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let body = Bytes::from(draw(&monitor).ok()?);
            *latest = Some(Latest {
                begun,
                body: body.clone(),
            });
            Some(body)
        });
        job.await.ok().flatten()
    }
}
