//! The event stream: a cursor per client, and a body that asks the state what the cursor missed.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};

use super::{HttpConfig, Shared, sse, to_json};
use crate::{Cursor, Progress, Readiness, Snapshot};

/// The data of the last event.
#[derive(Debug, Serialize)]
struct Done<'a> {
    run: &'a str,
    seq: u64,
    status: Readiness,
    reason: Option<String>,
}

/// Opens a stream, or says 204 to a client that has seen its end, or 503 when there are too many.
pub(super) async fn events(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let cursor = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        // What is no cursor of ours is a client without one: it gets a snapshot.
        .and_then(|id| id.parse::<Cursor>().ok());
    if cursor
        .as_ref()
        .is_some_and(|cursor| shared.progress.has_ended_for(cursor))
    {
        // An EventSource reconnects after every end; 204 is how it is told to stop.
        return StatusCode::NO_CONTENT.into_response();
    }
    let Ok(permit) = shared.clients.try_acquire_owned() else {
        let retry = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            retry,
            "too many event streams\n",
        )
            .into_response();
    };
    let client = Client::new(shared.progress, shared.config, cursor, permit);
    let body = Body::from_stream(stream::unfold(client, |mut client| async {
        let frame = client.next_frame().await?;
        Some((Ok::<_, Infallible>(Bytes::from(frame)), client))
    }));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        // Asks nginx not to hold the stream back.
        (
            header::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, body).into_response()
}

/// One open stream; dropping it (the client left) gives its permit back.
#[derive(Debug)]
struct Client {
    progress: Progress,
    config: HttpConfig,
    cursor: Option<Cursor>,
    /// When the last frame was given out; `None` before the first.
    last_frame: Option<Instant>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    fn new(
        progress: Progress,
        config: HttpConfig,
        cursor: Option<Cursor>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            progress,
            config,
            cursor,
            last_frame: None,
            ended: false,
            _permit: permit,
        }
    }

    /// The next piece of text, or `None` after the end.
    ///
    /// Dropped at an await, it has given out nothing yet and lost nothing: the cursor moves only
    /// together with the text that is returned.
    async fn next_frame(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let Some(last_frame) = self.last_frame else {
            // The first frame never waits, so that even a client with nothing to catch up on sees
            // the stream open.
            self.progress.ask_checks();
            return Some(self.frame(sse::RETRY));
        };
        sleep_until(last_frame + self.config.frame_interval).await;
        let seen = self.cursor.as_ref().map_or(0, |cursor| cursor.seq);
        tokio::select! {
            _ = self.progress.changed(seen) => Some(self.frame("")),
            () = sleep_until(last_frame + self.config.heartbeat) => {
                // Nobody else may be asking the checks; their news goes out with this frame.
                self.progress.ask_checks();
                Some(self.frame(sse::HEARTBEAT))
            }
        }
    }

    /// `start`, then what the client has missed, then the end if there is nothing after it.
    fn frame(&mut self, start: &str) -> String {
        let mut text = start.to_owned();
        if let Some(update) = self.progress.update_since(self.cursor.as_ref()) {
            let cursor = update.cursor();
            text += &sse::event(update.event(), &cursor, &to_json(&update));
            self.cursor = Some(cursor);
        }
        // Asked by the cursor, not by the clock: streams that are closed right now have an update
        // that this client has yet to see.
        if let Some(cursor) = self
            .cursor
            .as_ref()
            .filter(|cursor| self.progress.has_ended_for(cursor))
        {
            text += &self.done(cursor);
            self.ended = true;
        }
        self.last_frame = Some(Instant::now());
        text
    }

    fn done(&self, cursor: &Cursor) -> String {
        let Snapshot { status, reason, .. } = self.progress.peek();
        let done = Done {
            run: &cursor.run,
            seq: cursor.seq,
            status,
            reason,
        };
        sse::event("done", cursor, &to_json(&done))
    }
}
