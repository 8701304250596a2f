//! Listings through the query cache: fresh after a write here, and soon after a write elsewhere.

use std::time::Duration;

use axum::http::Method;
use reference_service::config::{Config, ConnectionUrl};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{App, PostgresDatabase, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_seen_by_the_next_listing_of_sqlite() {
    coherent(config()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_seen_by_the_next_listing_of_postgres() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let (mut setup, folder) = config();
    setup.database.url = database.url();
    coherent((setup, folder)).await;
    database.drop_it().await;
}

async fn coherent((mut setup, folder): (Config, TempDir)) {
    setup.database.query_cache.ttl = Some(HOUR);
    let app = App::start((setup, folder)).await;
    patience(remembers(&app)).await;
    let created = app.post("/api/v1/tasks", &json!({"title": "one"})).await;
    assert_eq!(titles(&app).await, ["one"]);
    let path = created.header("location").to_owned();
    app.send(Method::PATCH, &path, &json!({"title": "two"}))
        .await;
    assert_eq!(titles(&app).await, ["two"]);
    app.send(Method::DELETE, &path, &json!({})).await;
    assert_eq!(titles(&app).await, [""; 0]);
    app.stop().await;
}

/// Goal: two replicas behind one database. Method: both remember the listing for an hour, one writes,
/// the other is asked until it answers the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_by_one_replica_is_seen_by_the_listing_of_the_other() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let (mut setup, folder) = config();
    setup.database.url = database.url();
    setup.database.query_cache.ttl = Some(HOUR);
    setup.cache.disk.enabled = false;
    let one = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let other = App::start((setup, folder)).await;
    patience(remembers(&one)).await;
    patience(remembers(&other)).await;
    one.post("/api/v1/tasks", &json!({"title": "new"})).await;
    assert_eq!(titles(&one).await, ["new"]);
    let seen = async {
        while titles(&other).await != ["new"] {
            tokio::task::yield_now().await;
        }
    };
    patience(seen).await;
    one.stop().await;
    other.stop().await;
    database.drop_it().await;
}

/// Goal: a replica uses what another has read. Method: both have a Redis tier, and the one that never
/// asked the database for tasks answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_one_replica_has_read_is_shared_through_redis() {
    let Ok(redis) = std::env::var("TEST_REDIS_URL") else {
        println!("skipped: TEST_REDIS_URL is not set");
        return;
    };
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    let (mut setup, folder) = config();
    setup.database.url = database.url();
    setup.database.query_cache.ttl = Some(HOUR);
    setup.cache.redis.url = Some(ConnectionUrl::from(redis.as_str()));
    setup.cache.disk.enabled = false;
    let one = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    let other = App::start((setup, folder)).await;
    one.post("/api/v1/tasks", &json!({"title": "shared"})).await;
    let misses = || other.state.store.query_cache_stats().unwrap().misses;
    let shared = async {
        loop {
            // Another page size each time is another listing: the first replica reads it from the database.
            for limit in 1..=100 {
                let path = format!("/api/v1/tasks?limit={limit}");
                assert_eq!(one.get(&path).await.json()["items"][0]["title"], "shared");
                let before = misses();
                let answer = other.get(&path).await;
                if misses() == before {
                    return answer;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    let answer = patience(shared).await;
    assert_eq!(answer.json()["items"][0]["title"], "shared", "{answer:?}");
    one.stop().await;
    other.stop().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unless_it_is_wished_every_listing_asks_the_database() {
    let app = App::start(config()).await;
    titles(&app).await;
    assert!(app.state.store.query_cache_stats().is_none());
    app.stop().await;
}

/// Asks until a listing comes from the cache: the bus must be up and the schema known.
async fn remembers(app: &App) {
    let hits = || app.state.store.query_cache_stats().unwrap().hits;
    while hits() == 0 {
        titles(app).await;
        tokio::task::yield_now().await;
    }
}

async fn titles(app: &App) -> Vec<String> {
    let listed = app.get("/api/v1/tasks").await.json();
    let items = listed["items"].as_array().unwrap().iter();
    items
        .map(|task| task["title"].as_str().unwrap().to_owned())
        .collect()
}

async fn patience<T>(wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), wanted)
        .await
        .expect("it comes true")
}

const HOUR: Duration = Duration::from_secs(3600);
