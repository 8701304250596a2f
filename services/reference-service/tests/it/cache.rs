//! The cache tiers as the service uses them: what survives a restart, and what a dead Redis costs.

use std::net::SocketAddr;

use axum::http::Method;
use reference_service::config::ConnectionUrl;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{App, config, fetch, fetch_until, ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_on_disk_after_a_restart_and_what_changed_is_not() {
    let (setup, folder) = config();
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let path = async |title: &str| {
        let record = app
            .post("/api/v1/records", &json!({"title": title, "text": ""}))
            .await;
        let path = record.header("location").to_owned();
        app.get(&path).await;
        path
    };
    let (kept, changed) = (path("kept").await, path("changed").await);
    app.send(
        Method::PUT,
        &changed,
        &json!({"title": "after", "text": ""}),
    )
    .await;
    app.stop().await;

    let app = App::start((setup, folder)).await;
    let answer = app.get(&kept).await;
    assert_eq!(answer.header("cache-status"), "records; hit; detail=disk");
    assert_eq!(answer.json()["title"], "kept");
    let answer = app.get(&changed).await;
    assert_eq!(
        answer.header("cache-status"),
        "records; fwd=miss; detail=database"
    );
    assert_eq!(answer.json()["title"], "after");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_bypassed_the_service_is_noticed_at_the_next_start() {
    let (setup, folder) = config();
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let record = app
        .post("/api/v1/records", &json!({"title": "t", "text": ""}))
        .await;
    let path = record.header("location").to_owned();
    app.get(&path).await;
    app.state.store.bump_cache_epoch().await.unwrap();
    app.stop().await;

    let app = App::start((setup, folder)).await;
    let answer = app.get(&path).await;
    assert_eq!(
        answer.header("cache-status"),
        "records; fwd=miss; detail=database"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_service_is_ready_says_so_and_reconnects_by_itself() {
    let Ok(redis) = std::env::var("TEST_REDIS_URL") else {
        println!("skipped: TEST_REDIS_URL is not set");
        return;
    };
    // A port that nobody listens on yet: where the proxy will be.
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let (mut setup, _folder) = config();
    setup.cache.redis.url = Some(ConnectionUrl::from(with_address(&redis, address).as_str()));

    let ready = ready(setup).await;
    let http = ready.addresses().http;
    let degraded = fetch(http, "/readyz").await.unwrap();
    assert_eq!(degraded.status, 200, "{degraded:?}");
    assert_eq!(degraded.json()["status"], "warn");
    assert_eq!(degraded.json()["checks"]["redis"]["status"], "warn");
    let listed = fetch(http, "/api/v1/records").await.unwrap();
    assert_eq!(listed.status, 200, "{listed:?}");

    let proxy = tokio::spawn(forward(address, redis_address(&redis)));
    let healed = fetch_until(http, "/readyz", |answer| {
        answer.json()["checks"]["redis"]["status"] == "pass"
    })
    .await;
    assert_eq!(healed.json()["status"], "pass", "{healed:?}");
    proxy.abort();
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_costs_no_answer() {
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let (mut setup, folder) = config();
    setup.cache.redis.url = Some(ConnectionUrl::from(format!("redis://{address}").as_str()));
    let app = App::start((setup, folder)).await;
    let record = app
        .post("/api/v1/records", &json!({"title": "t", "text": ""}))
        .await;
    let path = record.header("location").to_owned();
    assert_eq!(app.get(&path).await.status, 200);
    let put = app
        .send(Method::PUT, &path, &json!({"title": "u", "text": ""}))
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(app.get(&path).await.json()["title"], "u");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_in_redis_by_a_process_that_has_no_disk_tier() {
    let Ok(redis) = std::env::var("TEST_REDIS_URL") else {
        println!("skipped: TEST_REDIS_URL is not set");
        return;
    };
    let (mut setup, folder) = config();
    setup.cache.redis.url = Some(ConnectionUrl::from(redis.as_str()));
    setup.cache.disk.enabled = false;
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let record = app
        .post("/api/v1/records", &json!({"title": "t", "text": ""}))
        .await;
    let path = record.header("location").to_owned();
    app.get(&path).await;
    app.stop().await;
    let app = App::start((setup, folder)).await;
    let answer = app.get(&path).await;
    assert_eq!(answer.header("cache-status"), "records; hit; detail=redis");
    app.stop().await;
}

/// Passes bytes on until it is aborted.
async fn forward(from: SocketAddr, to: String) {
    let listener = TcpListener::bind(from).await.unwrap();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let to = to.clone();
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(&to).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

fn redis_address(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    let authority = rest.split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

fn with_address(url: &str, address: SocketAddr) -> String {
    url.replacen(&redis_address(url), &address.to_string(), 1)
}
