//! The cache tiers as the service uses them: what survives a restart, and what a dead Redis costs.

use std::{net::SocketAddr, time::Duration};

use axum::http::Method;
use reference_service::config::ConnectionUrl;
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{App, PostgresDatabase, config, fetch, fetch_until, ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_on_disk_after_a_restart_and_what_changed_is_not() {
    let (mut setup, folder) = config();
    // Else it may be in memory by then.
    setup.cache.memory.hot_keys = 0;
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
    setup.cache.memory.hot_keys = 0;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_most_is_in_memory_soon_after_a_restart() {
    let (setup, folder) = config();
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let record = app
        .post("/api/v1/records", &json!({"title": "t", "text": ""}))
        .await;
    let path = record.header("location").to_owned();
    // Only some of the reads are counted.
    for _ in 0..300 {
        app.get(&path).await;
    }
    app.stop().await;
    let app = App::start((setup, folder)).await;
    // Not asked for by this process before it is warm.
    let warmed = async {
        while app.state.records.stats().entries == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), warmed)
        .await
        .expect("it is warmed");
    let answer = app.get(&path).await;
    assert_eq!(answer.header("cache-status"), "records; hit; detail=memory");
    app.stop().await;
}

/// Goal: two replicas behind one database and one Redis. Method: both hold the record in memory, one
/// changes it, the other is asked until it answers the new one; the TTL is an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_one_replica_is_seen_by_the_other() {
    let Ok(redis) = std::env::var("TEST_REDIS_URL") else {
        println!("skipped: TEST_REDIS_URL is not set");
        return;
    };
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let (mut setup, folder) = config();
    setup.database.url = database.url();
    setup.cache.redis.url = Some(ConnectionUrl::from(redis.as_str()));
    setup.cache.disk.enabled = false;
    let one = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let other = App::start((setup, folder)).await;
    let record = one
        .post("/api/v1/records", &json!({"title": "before", "text": ""}))
        .await;
    let path = record.header("location").to_owned();
    for app in [&one, &other] {
        app.get(&path).await;
        let again = app.get(&path).await;
        assert_eq!(again.header("cache-status"), "records; hit; detail=memory");
    }
    one.send(Method::PUT, &path, &json!({"title": "after", "text": ""}))
        .await;
    assert_eq!(one.get(&path).await.json()["title"], "after");
    let seen = async {
        while other.get(&path).await.json()["title"] != "after" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .expect("the other hears of it");
    one.stop().await;
    other.stop().await;
    database.drop_it().await;
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
