//! What the admin listener shows of the database.

use axum::{body::Body, http::Method};
use reference_service::{
    config::{ConnectionUrl, Secret},
    serve,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PostgresDatabase, config, exchange, fetch, ready, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_pool_health_and_advice_of_sqlite() {
    shows(None, "sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_pool_health_and_advice_of_postgres() {
    let Some(database) = PostgresDatabase::create().await else {
        return;
    };
    shows(Some(database.url()), "postgres").await;
    database.drop_it().await;
}

async fn shows(url: Option<ConnectionUrl>, backend: &str) {
    let (mut config, _folder) = config();
    config.database.url = url.unwrap_or(config.database.url);
    let ready = ready(config).await;
    let admin = ready.addresses().admin;
    let json = async |path| {
        let answer = fetch(admin, path).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        answer.json()
    };
    let pool = json("/database").await;
    assert_eq!(pool["backend"], backend);
    assert!(pool["usage"].is_object(), "{pool}");
    let health = json("/database/health").await;
    assert!(health["database"][backend].is_object(), "{health}");
    assert!(json("/database/advice").await["findings"].is_array());

    let alone = fetch(admin, "/database/servers").await.unwrap();
    alone.expect_problem(404, "not-found");
    let off = fetch(admin, "/database/query-cache").await.unwrap();
    off.expect_problem(404, "not-found");

    let headers = [("host", "localhost"), ("accept", "text/plain")];
    for path in ["/database", "/database/health", "/database/advice"] {
        let asked = request(Method::GET, path, &headers, Body::empty());
        let answer = exchange(admin, asked).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.body.ends_with('\n'), "{answer:?}");
    }
    let post = request(
        Method::POST,
        "/database",
        &[("host", "localhost")],
        Body::empty(),
    );
    let refused = exchange(admin, post).await.unwrap();
    refused.expect_problem(405, "method-not-allowed");
    let public = fetch(ready.addresses().http, "/database").await.unwrap();
    public.expect_problem(404, "not-found");
    ready.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_views_of_the_database_ask_for_the_key_and_wait_for_the_start() {
    let (mut config, _folder) = config();
    let bound = serve::bind(config.clone(), None).await.unwrap();
    let early = fetch(bound.addresses().admin, "/database").await.unwrap();
    early.expect_problem(503, "unavailable");
    let started = bound.start(false, &CancellationToken::new()).await;
    started.unwrap().unwrap().stop().await.unwrap();

    config.admin.key = Some(Secret::from("correct horse battery staple"));
    let ready = ready(config).await;
    let refused = fetch(ready.addresses().admin, "/database").await.unwrap();
    refused.expect_problem(401, "unauthorized");
    ready.stop().await.unwrap();
}
