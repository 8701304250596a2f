//! Migrations, and databases that are closed, damaged or not there.

use std::time::Duration;

use db_pool::{Pool, PoolConfig, Scope, Sqlite};
use diesel_async::SimpleAsyncConnection;
use reference_service::{
    domain::TaskFilter,
    http::scope::server_timing,
    store::{Store, StoreError, UpdateError},
};
use uuid::Uuid;

use super::fixture::{Fixture, Never, found, on_postgres, record, task, until};

on_both! {
    migrations_run_once_and_can_be_undone,
    a_closed_store_is_unavailable,
    an_index_that_somebody_dropped_is_reported,
    a_request_that_repeats_a_query_is_told,
}

async fn migrations_run_once_and_can_be_undone(db: Fixture) {
    assert!(db.store.is_empty().await.unwrap());
    assert_eq!(
        db.store.migrate().await.unwrap(),
        [""; 0],
        "the fixture has migrated already"
    );
    db.store
        .insert_record(&record("r", "text", &["tag"]))
        .await
        .unwrap();

    let folder = db.store.backend().to_string();
    let folder = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut steps: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|step| step.unwrap().path())
        .collect();
    steps.sort();
    for step in steps.iter().rev() {
        db.sql(&std::fs::read_to_string(step.join("down.sql")).unwrap())
            .await;
    }
    assert!(db.store.record_count().await.is_err());
    db.sql("DELETE FROM __diesel_schema_migrations").await;
    assert_eq!(db.store.migrate().await.unwrap().len(), steps.len());
    assert!(db.store.is_empty().await.unwrap());
    assert_eq!(found(&db.store, "text").await, [""; 0]);
}

async fn a_closed_store_is_unavailable(db: Fixture) {
    assert_eq!(db.store.health(), None);
    db.store.ping().await.unwrap();
    db.store.close().await;
    assert!(
        db.store
            .task(Uuid::nil())
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(
        db.store
            .insert_task(&task("t", 1))
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(db.store.ping().await.unwrap_err().is_unavailable());
    let update = db
        .store
        .update_task(Uuid::nil(), None, |_| Ok::<_, Never>(()))
        .await;
    assert!(matches!(update, Err(UpdateError::Store(error)) if error.is_unavailable()));
    assert_eq!(db.store.health().as_deref(), Some("the pool is closed"));
}

async fn an_index_that_somebody_dropped_is_reported(db: Fixture) {
    let report = db.store.check_indexes().await.unwrap();
    assert!(report.is_complete(), "{report}");
    db.sql("DROP INDEX tasks_by_status").await;
    let report = db.store.check_indexes().await.unwrap();
    let problems: Vec<_> = report
        .problems()
        .map(|entry| format!("{}: {}", entry.declared, entry.state))
        .collect();
    assert_eq!(
        problems,
        ["tasks (status, priority desc, created_at): missing"]
    );
}

async fn a_request_that_repeats_a_query_is_told(db: Fixture) {
    let scope = Scope::new();
    let looked = scope.run(async {
        for _ in 0..6 {
            db.store.task(Uuid::now_v7()).await?;
        }
        Ok::<_, StoreError>(())
    });
    looked.await.unwrap();
    let told = server_timing(&scope.report());
    let (timing, finding) = told.split_once(", ").unwrap();
    assert!(timing.starts_with("db;dur="), "{told}");
    assert!(timing.ends_with(";desc=\"6 statements\""), "{told}");
    assert_eq!(finding, "n-plus-one;desc=\"6 times SELECT tasks\"");

    let scope = Scope::new();
    let filter = TaskFilter::default();
    let listed = scope.run(db.store.tasks(&filter, None, 100));
    listed.await.unwrap();
    scope.assert_no_n_plus_one();
    scope.assert_statements_at_most(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    std::fs::write(&path, "this is no database ".repeat(500)).unwrap();
    let config = PoolConfig::embedded(path.to_str().unwrap());
    let error = match Store::connect(config).await {
        Ok(store) => store.migrate().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.is_corrupt() && !error.is_unavailable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_unavailable() {
    // Bound and closed again: nobody listens on this port.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = PoolConfig::web(format!("postgres://nobody@127.0.0.1:{port}/nothing"));
    let error = Store::connect(config).await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_config(), "{error:?}");

    let error = Store::connect(PoolConfig::web("oracle://somewhere"))
        .await
        .unwrap_err();
    assert!(error.is_config() && !error.is_unavailable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_writes_is_unavailable_for_writing_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    let config = PoolConfig {
        lock_timeout: Some(Duration::from_millis(1)),
        ..PoolConfig::embedded(path.to_str().unwrap())
    };
    let store = Store::connect(config.clone()).await.unwrap();
    store.migrate().await.unwrap();
    let other = Pool::<Sqlite>::connect(config).await.unwrap();
    let mut writer = other.acquire().await.unwrap();
    writer.batch_execute("BEGIN IMMEDIATE").await.unwrap();

    let error = store.insert_task(&task("t", 1)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(store.is_empty().await.unwrap());

    writer.batch_execute("ROLLBACK").await.unwrap();
    store.insert_task(&task("t", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_vanishes_is_unavailable_and_unhealthy() {
    on_postgres(async |db: Fixture| {
        db.vanish().await;
        let error = db.store.task(Uuid::nil()).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        let error = db.store.insert_task(&task("t", 1)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");

        // The first question only sends the ping; its answer comes with a later one.
        until(|| db.store.health().is_some()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_store_every_text_is_refused() {
    on_postgres(async |db: Fixture| {
        let name = format!("{}_latin1", db.name());
        let settings = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
        db.sql(&format!("CREATE DATABASE {name} {settings}")).await;
        let store = Store::connect(db.beside(&name)).await.unwrap();
        let refused = store.migrate().await;
        store.close().await;
        db.sql(&format!("DROP DATABASE {name} WITH (FORCE)")).await;

        let causes = std::iter::successors(
            Some(refused.as_ref().unwrap_err() as &dyn std::error::Error),
            |&error| error.source(),
        );
        let message = causes
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ");
        assert!(
            message.contains("encoding LATIN1, create one with UTF8"),
            "{message}"
        );
    })
    .await;
}
