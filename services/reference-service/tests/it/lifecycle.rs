//! One lifetime of the process over real sockets: bound, starting, ready, draining, gone.

use std::{future::poll_fn, io::Write as _, task::Poll, time::Duration};

use reference_service::{
    config::{ConnectionUrl, Secret},
    failure::{self, Failure},
    serve,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::{config, fetch, load, ready};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_ready_the_api_says_503_while_probes_views_and_docs_work() {
    let (config, _folder) = config();
    let bound = serve::bind(config, None).await.unwrap();
    let http = bound.addresses().http;
    for (path, status) in [
        ("/api/v1/tasks", 503),
        ("/api/v1/records/7", 503),
        ("/nope", 503),
        ("/readyz", 503),
        ("/startupz", 503),
        ("/livez", 200),
        ("/startup", 200),
        ("/docs/", 200),
        ("/openapi.json", 200),
    ] {
        let answer = fetch(http, path).await.unwrap();
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if path.starts_with("/api") {
            answer.expect_problem(503, "unavailable");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    let ready = bound
        .start(true, &CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    for (path, status) in [
        ("/api/v1/tasks", 200),
        ("/nope", 404),
        ("/readyz", 200),
        ("/startupz", 200),
    ] {
        assert_eq!(fetch(http, path).await.unwrap().status, status, "{path}");
    }
    let tasks = fetch(http, "/api/v1/tasks").await.unwrap().json();
    assert!(
        !tasks["items"].as_array().unwrap().is_empty(),
        "the sample is there"
    );
    ready.stop().await.unwrap();
    assert!(
        fetch(http, "/livez").await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_start_up_ends_it_cleanly() {
    // A server that takes connections and never answers: the database component hangs.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut config, _folder) = config();
    let address = silent.local_addr().unwrap();
    let url = format!("postgres://nobody@{address}/none?sslmode=disable");
    config.database.url = ConnectionUrl::from(url.as_str());
    let bound = serve::bind(config, None).await.unwrap();
    let http = bound.addresses().http;
    let stop = CancellationToken::new();
    let starting = tokio::spawn({
        let stop = stop.clone();
        async move { bound.start(false, &stop).await }
    });
    let _connection = silent.accept().await.unwrap();
    assert_eq!(fetch(http, "/livez").await.unwrap().status, 200);
    stop.cancel();
    let ended = timeout(PATIENCE, starting).await.expect("in time").unwrap();
    assert!(ended.unwrap().is_none(), "stopped, not failed");
    assert!(
        fetch(http, "/livez").await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_request_is_finished_and_an_event_stream_is_ended_at_shutdown() {
    let (mut config, _folder) = config();
    config.shutdown.timeout = PATIENCE;
    let ready = ready(config).await;
    let http = ready.addresses().http;
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream
        .write_all(b"GET /startup/events HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut events = Vec::new();
    while !String::from_utf8_lossy(&events).contains("event: snapshot") {
        stream.read_buf(&mut events).await.unwrap();
    }
    // A request whose body is on its way when the drain begins.
    let mut socket = TcpStream::connect(http).await.unwrap();
    let body = "{\"title\":\"late\"}";
    let head = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len(),
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is inside a handler now.
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue"));

    let stopping = tokio::spawn(ready.stop());
    timeout(PATIENCE, stream.read_to_end(&mut events))
        .await
        .expect("the stream ends")
        .unwrap();
    let events = String::from_utf8_lossy(&events);
    assert!(events.contains("event: done"), "{events}");
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer))
        .await
        .expect("in time")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    timeout(PATIENCE, stopping)
        .await
        .expect("in time")
        .unwrap()
        .unwrap();
}

/// A client that keeps its connection alive cannot know of the stop: what it sends in that moment is
/// answered, and told that it was the last on this connection.
#[tokio::test]
async fn a_request_on_its_way_when_the_stop_begins_is_answered() {
    let (mut config, _folder) = config();
    config.shutdown.timeout = PATIENCE;
    let ready = ready(config).await;
    let mut socket = TcpStream::connect(ready.addresses().http).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = socket.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).to_lowercase();
    assert!(!answer.contains("connection: close"), "{answer}");

    // A second client has connected, but nobody has accepted it.
    let mut second = std::net::TcpStream::connect(ready.addresses().http).unwrap();
    second.write_all(request).unwrap();
    second.set_nonblocking(true).unwrap();
    let mut second = TcpStream::from_std(second).unwrap();
    // On one thread: the stop has begun, and nothing was read since, when the request is sent.
    let mut stopping = Box::pin(ready.stop());
    let begun = poll_fn(|context| Poll::Ready(stopping.as_mut().poll(context))).await;
    assert!(begun.is_pending());
    socket.write_all(request).await.unwrap();
    let (mut answer, mut answer_of_second) = (String::new(), String::new());
    let read = timeout(PATIENCE, socket.read_to_string(&mut answer));
    let read_second = timeout(PATIENCE, second.read_to_string(&mut answer_of_second));
    let (read, read_second, stopped) = tokio::join!(read, read_second, stopping);
    read.expect("in time").unwrap();
    read_second.expect("in time").unwrap();
    for answer in [answer, answer_of_second] {
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    stopped.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_finishes_its_head_is_cut() {
    let (mut config, _folder) = config();
    config.http.header_timeout = Duration::from_millis(50);
    let ready = ready(config).await;
    for beginning in ["", "G", "GET / HTTP/1.1\r\nhost: x\r\n", "PRI * HT"] {
        let mut socket = TcpStream::connect(ready.addresses().http).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let cut = timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
        assert!(cut.is_ok(), "{beginning:?} still holds a connection");
    }
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_noise_gets_a_4xx_or_a_closed_connection() {
    let (config, _folder) = config();
    let ready = ready(config).await;
    let http = ready.addresses().http;
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        huge.as_bytes(),
    ] {
        let mut socket = TcpStream::connect(http).await.unwrap();
        // The server may close before it has read everything: that is an answer as well.
        let _ = socket.write_all(noise).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .expect("no hang");
        let head = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            head.is_empty() || head.starts_with("HTTP/1.1 4"),
            "{noise:?}: {head}"
        );
    }
    assert_eq!(fetch(http, "/readyz").await.unwrap().status, 200);
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_and_broken_data_have_exit_codes_of_their_own() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut busy, _folder) = config();
    busy.http.address = taken.local_addr().unwrap();
    let failed = serve::bind(busy, None)
        .await
        .expect_err("the port is taken");
    assert_eq!(failed.code(), failure::UNAVAILABLE);
    assert!(
        failed.message().contains("APP__HTTP__ADDRESS"),
        "{}",
        failed.message()
    );

    let (corrupt, folder) = config();
    std::fs::write(folder.path().join("service.db"), [0x5a; 8192]).unwrap();
    let failed = start_fails(corrupt).await;
    assert_eq!(failed.code(), failure::IO, "{}", failed.message());
    let kept = std::fs::read(folder.path().join("service.db")).unwrap();
    assert_eq!(
        kept, [0x5a; 8192],
        "a file that is no database is left as it is"
    );

    let (mut blocked, folder) = config();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = format!("sqlite:{}/file/service.db", folder.path().display());
    blocked.database.url = ConnectionUrl::from(url.as_str());
    let failed = start_fails(blocked).await;
    assert_eq!(failed.code(), failure::IO, "{}", failed.message());

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (mut away, _folder) = config();
    away.database.url = ConnectionUrl::from(format!("postgres://a@{address}/b").as_str());
    let failed = start_fails(away).await;
    assert_eq!(failed.code(), failure::UNAVAILABLE, "{}", failed.message());
}

async fn start_fails(config: reference_service::config::Config) -> Failure {
    let bound = serve::bind(config, None).await.unwrap();
    let stop = CancellationToken::new();
    timeout(PATIENCE, bound.start(false, &stop))
        .await
        .expect("fails in time")
        .expect_err("cannot start")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_never_work_on_the_same_file() {
    let (config, _folder) = config();
    let first = serve::bind(config.clone(), None).await.unwrap();
    let first = first
        .start(false, &CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    let failed = start_fails(config.clone()).await;
    assert_eq!(failed.code(), failure::IO);
    assert!(
        failed.message().contains("held by another process"),
        "{}",
        failed.message()
    );
    first.stop().await.unwrap();
    let next = serve::bind(config, None).await.unwrap();
    next.start(false, &CancellationToken::new())
        .await
        .unwrap()
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_asks_for_its_key_except_on_probes() {
    let (mut config, _folder) = config();
    config.admin.key = Some(Secret::from("correct horse battery staple"));
    let bound = serve::bind(config, None).await.unwrap();
    let admin = bound.addresses().admin;
    assert_eq!(fetch(admin, "/livez").await.unwrap().status, 200);
    let refused = fetch(admin, "/startup").await.unwrap();
    refused.expect_problem(401, "unauthorized");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    for (key, status) in [
        ("correct horse battery staple", 200),
        ("wrong", 401),
        ("", 401),
    ] {
        let mut socket = TcpStream::connect(admin).await.unwrap();
        let head = format!(
            "GET /startup HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{key}: {answer}"
        );
    }
    // Nothing beyond loopback without a key: refused before anything is bound.
    assert!(load(&[]).admin.address.ip().is_loopback());
    let ready = bound
        .start(false, &CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_cannot_keep_others_out() {
    const CONNECTIONS: usize = 4;
    let (mut config, _folder) = config();
    config.http.max_connections = CONNECTIONS;
    config.http.write_timeout = Duration::from_millis(100);
    let ready = ready(config).await;
    let http = ready.addresses().http;
    let mut deaf = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(http).await.unwrap();
        // Asked again and again: more than the buffers of both sides hold.
        let ask = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
        socket.write_all(ask.as_bytes()).await.unwrap();
        deaf.push(socket);
    }
    let answer = timeout(PATIENCE, fetch(http, "/livez"))
        .await
        .expect("their turn is over");
    assert_eq!(answer.unwrap().status, 200);
    drop(deaf);
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_is_sent() {
    let (config, _folder) = config();
    let ready = ready(config).await;
    let mut socket = TcpStream::connect(ready.addresses().http).await.unwrap();
    let head = "POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 300000000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, socket.read_exact(&mut answer))
        .await
        .expect("at once")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    ready.stop().await.unwrap();
}
