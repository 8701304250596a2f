//! Clients that hang up, over real sockets and a real server.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use perf_monitor::{Monitor, MonitorConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::exposition::Exposition;

/// Says that it was dropped; everything of its request goes in the same step of the runtime.
struct Gone(mpsc::Sender<()>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.try_send(()).expect("room for one message");
    }
}

async fn connect(app: Router) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    client
}

fn assert_one(monitor: &Monitor, status: &str, outcome: &str) {
    let shown = Exposition::parse(&monitor.prometheus());
    let labels = [("http_response_status_code", status), ("outcome", outcome)];
    let count = "http_server_request_duration_seconds_count";
    assert_eq!(shown.sum(count, &labels), 1.0, "{status} {outcome}");
    assert_eq!(shown.sum(count, &[]), 1.0);
    assert_eq!(shown.sum("http_server_active_requests", &[]), 0.0);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_head_counts_once_as_499() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let (sender, mut gone) = mpsc::channel(1);
    let (entered_sender, mut entered) = mpsc::channel(1);
    let slow = move || async move {
        let _gone = Gone(sender);
        entered_sender.send(()).await.expect("the test listens");
        std::future::pending::<&str>().await
    };
    let client = connect(
        Router::new()
            .route("/slow", get(slow))
            .layer(monitor.layer()),
    )
    .await;
    entered.recv().await.expect("the handler runs");
    assert_eq!(monitor.snapshot().http.active, 1);
    drop(client);
    gone.recv().await.expect("the handler is dropped");
    tokio::task::yield_now().await;
    assert_one(&monitor, "499", "aborted");
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_body_counts_once_as_aborted_with_its_status() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let (sender, mut gone) = mpsc::channel(1);
    let slow = move || async move {
        let gone = Gone(sender);
        let first = stream::iter([Ok::<_, Infallible>("first part")]);
        Body::from_stream(first.chain(stream::pending()).inspect(move |_| {
            let _keep = &gone;
        }))
    };
    let mut client = connect(
        Router::new()
            .route("/slow", get(slow))
            .layer(monitor.layer()),
    )
    .await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("first part") {
        assert_ne!(
            client.read_buf(&mut seen).await.unwrap(),
            0,
            "the server hung up"
        );
    }
    assert_eq!(monitor.snapshot().http.active, 1);
    drop(client);
    gone.recv().await.expect("the body is dropped");
    tokio::task::yield_now().await;
    assert_one(&monitor, "200", "aborted");
}

#[tokio::test]
async fn a_stream_declared_to_be_empty_is_complete_although_no_server_polls_it() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let (sender, mut gone) = mpsc::channel(1);
    let empty = move || async move {
        let gone = Gone(sender);
        let nothing = stream::empty::<Result<&str, Infallible>>().inspect(move |_| {
            let _keep = &gone;
        });
        ([("content-length", "0")], Body::from_stream(nothing))
    };
    let _client = connect(
        Router::new()
            .route("/slow", get(empty))
            .layer(monitor.layer()),
    )
    .await;
    gone.recv().await.expect("the body is dropped");
    tokio::task::yield_now().await;
    assert_one(&monitor, "200", "complete");
}
