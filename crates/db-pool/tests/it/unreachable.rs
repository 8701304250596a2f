//! PostgreSQL servers that refuse, hang or break: the cause comes back, and in time. No real server is needed.

use std::time::Duration;

use db_pool::{ConnectErrorKind, OpenError, Pool, PoolConfig, Postgres};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::chain;

async fn connect(address: &str) -> Result<Pool<Postgres>, OpenError> {
    Pool::connect(PoolConfig::web(format!(
        "postgres://app:secret@{address}/app"
    )))
    .await
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_closed_port_fails_at_once() {
    let (listener, address) = listener().await;
    drop(listener);
    let started = Instant::now();
    let error = connect(&address).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    let connect = error.connect().unwrap();
    assert_eq!(
        connect.kind(),
        ConnectErrorKind::Unreachable,
        "{}",
        chain(&error)
    );
    assert!(
        !connect.is_permanent() && chain(&error).contains("refused"),
        "{}",
        chain(&error)
    );
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
}

/// The connection is accepted by the kernel; nobody ever answers.
#[tokio::test(start_paused = true)]
async fn a_silent_server_meets_connect_timeout() {
    let (_listener, address) = listener().await;
    let started = Instant::now();
    let error = connect(&address).await.unwrap_err();
    assert!(
        error.connect().is_some_and(|error| error.is_timeout()),
        "{}",
        chain(&error)
    );
    let waited = started.elapsed();
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_secs(6),
        "{waited:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_an_error_when_tls_is_required() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(b"N").await.unwrap();
    });
    let url = format!("postgres://app@{address}/app?sslmode=require");
    let error = Pool::<Postgres>::connect(PoolConfig::web(url))
        .await
        .unwrap_err();
    assert_eq!(
        error.connect().unwrap().kind(),
        ConnectErrorKind::Tls,
        "{}",
        chain(&error)
    );
    server.abort();
}

#[tokio::test]
async fn urls_that_cannot_work_are_refused_before_connecting() {
    for url in [
        "postgres://",
        "postgres://app@",
        "postgres://h:notaport/d",
        "postgres://h/d?nonsense=1",
    ] {
        let error = Pool::<Postgres>::connect(PoolConfig::web(url))
            .await
            .unwrap_err();
        assert!(error.is_config(), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_an_error() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = connect(&address).await.unwrap_err();
    assert!(
        error.connect().is_some_and(|error| !error.is_timeout()),
        "{}",
        chain(&error)
    );
    server.abort();
}
