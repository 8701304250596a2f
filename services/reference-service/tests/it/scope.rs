//! What a request may ask of the database: for no longer than it lives, and told to who develops.

use std::time::Duration;

use axum::http::Method;
use reference_service::store::Batch;
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{App, config};

/// Goal: nobody waits for a connection on behalf of a request that has ended. Method: an import holds
/// SQLite's only writer, the pool would wait for an hour, and a change runs in a task of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_waits_for_a_connection_no_longer_than_its_request_lives() {
    let (mut setup, folder) = config();
    setup.http.request_timeout = Duration::from_millis(200);
    setup.database.pool.acquire_timeout = Some(Duration::from_secs(3600));
    let app = App::start((setup, folder)).await;
    let task = app.post("/api/v1/tasks", &json!({"title": "t"})).await;
    let path = task.header("location").to_owned();

    let (batches, queue) = mpsc::channel(1);
    let import = tokio::spawn({
        let store = app.state.store.clone();
        async move { store.import_records(queue).await }
    });
    batches.send(Batch::Records(Vec::new())).await.unwrap();
    let holds = async || {
        while app.state.store.status().in_use == 0 {
            tokio::task::yield_now().await;
        }
    };
    patience(holds()).await;

    let late = app
        .send(Method::PATCH, &path, &json!({"title": "late"}))
        .await;
    assert!(matches!(late.status.as_u16(), 503 | 504), "{late:?}");
    let gone = async || {
        while app.state.store.status().waiting > 0 {
            tokio::task::yield_now().await;
        }
    };
    patience(gone()).await;

    batches.send(Batch::End).await.unwrap();
    import.await.unwrap().unwrap();
    assert_eq!(app.get(&path).await.json()["title"], "t");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_tells_what_it_asked_of_the_database_only_where_that_is_wanted() {
    let (mut setup, folder) = config();
    let app = App::start((setup.clone(), tempfile::tempdir().unwrap())).await;
    assert_eq!(app.get("/api/v1/tasks").await.header("server-timing"), "");
    app.stop().await;

    setup.http.server_timing = true;
    let app = App::start((setup, folder)).await;
    let listed = app.get("/api/v1/tasks").await;
    let told = listed.header("server-timing");
    assert!(told.starts_with("db;dur="), "{told}");
    assert!(told.ends_with(";desc=\"1 statements\""), "{told}");
    let missing = app.get("/api/v1/nothing").await;
    assert_eq!(
        missing.header("server-timing"),
        "db;dur=0.000;desc=\"0 statements\""
    );
    app.stop().await;
}

async fn patience(condition: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(30), condition)
        .await
        .expect("it comes true");
}
