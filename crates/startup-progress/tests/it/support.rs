//! What several modules need: requests to a router, and a reader of server-sent events.

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header::HeaderMap},
};
use http_body_util::BodyExt;
use serde_json::Value;
use startup_progress::{Progress, StepSnapshot};
use tower::ServiceExt;

/// One answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

pub(crate) async fn send(router: &Router, method: Method, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub(crate) async fn get(router: &Router, path: &str) -> Answer {
    send(router, Method::GET, path).await
}

/// An open event stream.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Body,
}

/// What one frame carried.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Frame {
    pub(crate) events: Vec<Event>,
    pub(crate) comments: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(router: &Router, last_event_id: Option<&str>) -> Self {
        let mut request = Request::builder().uri("/startup/events");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// The next frame; `None` after the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        let bytes = self.body.frame().await?.unwrap().into_data().unwrap();
        Some(parse(std::str::from_utf8(&bytes).unwrap()))
    }

    /// The single event of the next frame.
    pub(crate) async fn event(&mut self) -> Event {
        let mut events = self.frame().await.expect("the stream is open").events;
        assert_eq!(events.len(), 1, "one event: {events:?}");
        events.remove(0)
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for block in text.split_terminator("\n\n") {
        let mut event = Event::default();
        for line in block.lines() {
            match line.split_once(": ").expect("a field or a comment") {
                ("", comment) => frame.comments.push(comment.to_owned()),
                ("event", name) => event.name = name.to_owned(),
                ("id", id) => event.id = id.to_owned(),
                ("data", data) => event.data = serde_json::from_str(data).unwrap(),
                ("retry", millis) => assert_eq!(millis, "1000"),
                other => panic!("unknown field {other:?}"),
            }
        }
        if !event.name.is_empty() {
            frame.events.push(event);
        }
    }
    frame
}

/// The first step of that name.
pub(crate) fn step(progress: &Progress, name: &str) -> StepSnapshot {
    let steps = progress.snapshot().steps;
    steps
        .into_iter()
        .find(|step| step.name == name)
        .expect("the step is known")
}
