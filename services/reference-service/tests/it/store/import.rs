//! Many rows at once, and the cache epoch that an import raises.

use std::collections::BTreeSet;

use db_pool::{BackendKind, PoolConfig};
use reference_service::{
    domain::{Record, new_id},
    store::{Batch, Store, StoreError},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::fixture::{Fixture, found, record, task};

on_both! {
    five_thousand_records_are_stored_at_once_or_not_at_all,
    tasks_and_records_are_stored_together_or_not_at_all,
    an_import_commits_at_its_end_and_raises_the_epoch,
    an_import_that_ends_early_stores_nothing,
    dropping_an_import_stores_nothing_and_frees_the_writer,
    every_bump_of_the_epoch_gives_a_new_one,
    no_two_databases_have_the_same_epoch,
}

async fn five_thousand_records_are_stored_at_once_or_not_at_all(db: Fixture) {
    let mut many: Vec<Record> = (0..5_000)
        .map(|index| {
            let text = format!(
                "Package {index} of many, with a text of usual length {}",
                "lorem ipsum ".repeat(8)
            );
            record(
                &format!("package-{index}"),
                &text,
                &["libs", "optional", "role::shared", "x11"],
            )
        })
        .collect();
    let began = tokio::time::Instant::now();
    db.store.insert_records(&many).await.unwrap();
    println!("5,000 records took {:?}", began.elapsed());
    assert_eq!(db.store.record_count().await.unwrap(), 5_000);
    assert_eq!(found(&db.store, "4321 lorem").await, ["package-4321"]);

    // The last row of the last statement fails: the nine statements before it must not stay.
    let taken = many[17].id;
    for record in &mut many {
        record.id = new_id(record.created_at);
    }
    many[4_999].id = taken;
    let refused = db.store.insert_records(&many).await;
    assert!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(db.store.record_count().await.unwrap(), 5_000);
}

async fn tasks_and_records_are_stored_together_or_not_at_all(db: Fixture) {
    let taken = record("taken", "", &[]);
    db.store.insert_record(&taken).await.unwrap();
    let tasks = [task("a", 1), task("b", 2)];
    let refused = db
        .store
        .insert_tasks_and_records(&tasks, &[record("new", "", &[]), taken])
        .await;
    assert!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(db.store.task_count().await.unwrap(), 0);
    assert_eq!(db.store.record_count().await.unwrap(), 1);

    let records = [record("x", "", &["tag"]), record("y", "", &[])];
    db.store
        .insert_tasks_and_records(&tasks, &records)
        .await
        .unwrap();
    for task in tasks {
        assert_eq!(db.store.task(task.id).await.unwrap(), Some(task));
    }
    for record in records {
        assert_eq!(db.store.record(record.id).await.unwrap(), Some(record));
    }
}

async fn an_import_commits_at_its_end_and_raises_the_epoch(db: Fixture) {
    let before = db.store.cache_epoch().await.unwrap();
    let (send, queue) = mpsc::channel(2);
    let import = tokio::spawn({
        let store = db.store.clone();
        async move { store.import_records(queue).await }
    });
    for size in [0, 3, 501] {
        let records = (0..size).map(|_| record("r", "", &["tag"])).collect();
        send.send(Batch::Records(records)).await.unwrap();
    }
    send.send(Batch::End).await.unwrap();
    assert_eq!(import.await.unwrap().unwrap(), 504);
    assert_eq!(db.store.record_count().await.unwrap(), 504);
    assert_eq!(db.store.cache_epoch().await.unwrap(), before + 1);
}

async fn an_import_that_ends_early_stores_nothing(db: Fixture) {
    let before = db.store.cache_epoch().await.unwrap();
    let (send, queue) = mpsc::channel(2);
    send.send(Batch::Records(vec![record("r", "", &[])]))
        .await
        .unwrap();
    drop(send);
    let ended = db.store.import_records(queue).await;
    assert!(matches!(ended, Err(StoreError::ImportEnded)), "{ended:?}");
    assert!(db.store.is_empty().await.unwrap());
    assert_eq!(db.store.cache_epoch().await.unwrap(), before);
}

async fn dropping_an_import_stores_nothing_and_frees_the_writer(db: Fixture) {
    let (send, queue) = mpsc::channel(1);
    let import = tokio::spawn({
        let store = db.store.clone();
        async move { store.import_records(queue).await }
    });
    // The second batch is taken only when the first is stored, the third proves it waits.
    for _ in 0..3 {
        send.send(Batch::Records(vec![record("r", "", &[])]))
            .await
            .unwrap();
    }
    import.abort();
    assert!(import.await.unwrap_err().is_cancelled());
    db.store.insert_task(&task("after", 1)).await.unwrap();
    assert_eq!(db.store.record_count().await.unwrap(), 0);
    assert_eq!(db.store.task_count().await.unwrap(), 1);
}

async fn every_bump_of_the_epoch_gives_a_new_one(db: Fixture) {
    let first = db.store.cache_epoch().await.unwrap();
    let mut bumps = JoinSet::new();
    for _ in 0..8 {
        let store = db.store.clone();
        bumps.spawn(async move { store.bump_cache_epoch().await.unwrap() });
    }
    let epochs: BTreeSet<u64> = bumps.join_all().await.into_iter().collect();
    assert_eq!(epochs, (first + 1..=first + 8).collect());
    assert_eq!(db.store.cache_epoch().await.unwrap(), first + 8);
}

async fn no_two_databases_have_the_same_epoch(db: Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let name = format!("{}_other", db.name());
    let other = match db.store.backend() {
        BackendKind::Sqlite => PoolConfig::embedded(path.to_str().unwrap()),
        _ => {
            db.sql(&format!("CREATE DATABASE {name}")).await;
            db.beside(&name)
        }
    };
    let other = Store::connect(other).await.unwrap();
    other.migrate().await.unwrap();
    let second = other.cache_epoch().await.unwrap();
    other.close().await;
    if db.store.backend() == BackendKind::Postgres {
        db.sql(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }

    let first = db.store.cache_epoch().await.unwrap();
    let bumped = db.store.bump_cache_epoch().await.unwrap();
    let epochs = BTreeSet::from([first, second, bumped]);
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    // Random, not merely different: 60 bits are this small once in 2^28 databases.
    assert!(first.min(second) > 1 << 32, "{epochs:?}");
}
