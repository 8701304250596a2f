//! `/api/v1/records` as a client sees it, caches included.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{App, request};

const RECORDS: &str = "/api/v1/records";

on_each_database! {
    a_record_is_read_from_the_database_once_and_then_from_memory,
    what_was_written_is_what_is_read_next,
    what_was_deleted_is_not_served_by_any_tier,
    lists_are_found_by_tag_and_by_words,
    hostile_search_text_finds_nothing_and_breaks_nothing,
    readers_never_see_an_older_version_than_one_they_have_seen,
}

async fn a_record_is_read_from_the_database_once_and_then_from_memory(app: &App) {
    let record = create(
        app,
        json!({"title": "t", "text": "x", "tags": ["b", "a", "b"]}),
    )
    .await;
    assert_eq!(
        record["tags"],
        json!(["b", "a"]),
        "repeats are dropped, the order stays"
    );
    let first = app.get(&path_of(&record)).await;
    assert_eq!(
        first.header("cache-status"),
        "records; fwd=miss; detail=database"
    );
    assert_eq!(first.json(), record);
    let second = app.get(&path_of(&record)).await;
    assert_eq!(second.header("cache-status"), "records; hit; detail=memory");
    assert_eq!(second.json(), record);
}

async fn what_was_written_is_what_is_read_next(app: &App) {
    let record = create(app, json!({"title": "old", "text": ""})).await;
    app.get(&path_of(&record)).await;
    let put = app
        .send(
            Method::PUT,
            &path_of(&record),
            &json!({"title": "new", "text": "y"}),
        )
        .await;
    assert_eq!(
        (put.status, put.header("etag")),
        (StatusCode::OK, "\"2\""),
        "{put:?}"
    );
    let read = app.get(&path_of(&record)).await;
    assert_eq!(read.json(), put.json());
    assert_eq!(read.json()["title"], "new");
    assert_eq!(
        read.json()["tags"],
        json!([]),
        "PUT replaces the whole record"
    );
}

async fn what_was_deleted_is_not_served_by_any_tier(app: &App) {
    let record = create(app, json!({"title": "t", "text": ""})).await;
    app.get(&path_of(&record)).await;
    let delete = request(Method::DELETE, &path_of(&record), &[], Body::empty());
    assert_eq!(app.call(delete).await.status, StatusCode::NO_CONTENT);
    app.get(&path_of(&record))
        .await
        .expect_problem(404, "not-found");
    let put = app
        .send(
            Method::PUT,
            &path_of(&record),
            &json!({"title": "t", "text": ""}),
        )
        .await;
    put.expect_problem(404, "not-found");
}

async fn lists_are_found_by_tag_and_by_words(app: &App) {
    create(
        app,
        json!({"title": "Red fox", "text": "quick and brown", "tags": ["animal"]}),
    )
    .await;
    create(
        app,
        json!({"title": "Fox trot", "text": "a dance", "tags": ["dance"], "importance": 5}),
    )
    .await;
    for (query, expected) in [
        ("q=fox", vec!["Fox trot", "Red fox"]),
        ("q=FOX%20brown", vec!["Red fox"]),
        ("tag=dance", vec!["Fox trot"]),
        ("tag=animal&q=dance", vec![]),
        ("min_importance=4", vec!["Fox trot"]),
    ] {
        assert_eq!(titles(app, query).await, expected, "{query}");
    }
}

async fn hostile_search_text_finds_nothing_and_breaks_nothing(app: &App) {
    create(app, json!({"title": "Red fox", "text": ""})).await;
    for query in [
        "%22",
        "*",
        "%27%29%3B--",
        "NEAR%28",
        "a%20AND",
        "title%3Afoxes",
        "%F0%9F%A6%8A",
    ] {
        let answer = app.get(&format!("{RECORDS}?q={query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
        assert_eq!(answer.json()["items"], json!([]), "{query}");
    }
}

async fn readers_never_see_an_older_version_than_one_they_have_seen(app: &App) {
    const READERS: usize = 4;
    const WRITES: i64 = 30;
    let record = create(app, json!({"title": "0", "text": ""})).await;
    let path: Arc<str> = path_of(&record).into();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (cache, store) = (app.state.records.clone(), app.state.store.clone());
        let id = record["id"].as_str().unwrap().parse().unwrap();
        readers.spawn(async move {
            let mut newest = 0;
            while newest <= WRITES {
                let store = store.clone();
                let found = cache.get_or_load(&id, move || async move { store.record(id).await });
                let version = found.await.unwrap().value().unwrap().version;
                assert!(version >= newest, "read version {version} after {newest}");
                newest = version;
                tokio::task::yield_now().await;
            }
        });
    }
    for write in 1..=WRITES {
        let body = json!({"title": write.to_string(), "text": ""});
        let put = app.send(Method::PUT, &path, &body).await;
        assert_eq!(put.json()["version"], write + 1);
        // The writer itself reads what it wrote, never less.
        assert_eq!(app.get(&path).await.json()["version"], write + 1);
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}

async fn create(app: &App, body: Value) -> Value {
    let created = app.post(RECORDS, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.header("location"), path_of(&created.json()));
    created.json()
}

async fn titles(app: &App, query: &str) -> Vec<String> {
    let page = app.get(&format!("{RECORDS}?{query}")).await.json();
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|record| record["title"].as_str().unwrap().to_owned())
        .collect()
}

fn path_of(record: &Value) -> String {
    format!("{RECORDS}/{}", record["id"].as_str().unwrap())
}
