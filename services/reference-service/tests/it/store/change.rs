//! Changes and deletions: versions, refusals and writers that race.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use reference_service::{domain::Task, store::UpdateError};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::fixture::{Fixture, Never, record, task};

on_both! {
    an_update_raises_the_version_and_keeps_the_identity,
    an_update_can_clear_what_was_set,
    a_change_that_expects_another_version_does_nothing,
    what_does_not_exist_is_not_found,
    deleted_is_gone,
    a_refused_or_empty_change_writes_nothing,
    concurrent_updates_lose_nothing,
    of_many_writers_that_expect_one_version_exactly_one_wins,
}

async fn an_update_raises_the_version_and_keeps_the_identity(db: Fixture) {
    let before = task("before", 3);
    db.store.insert_task(&before).await.unwrap();
    let update = db.store.update_task(before.id, Some(1), |task| {
        task.title = "after".to_owned();
        (task.id, task.created_at, task.version) = (Uuid::nil(), Timestamp::MAX, 99);
        Ok::<_, Never>(())
    });
    let after = update.await.unwrap();
    let expected = Task {
        title: "after".to_owned(),
        version: 2,
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(db.store.task(expected.id).await.unwrap(), Some(expected));
}

async fn an_update_can_clear_what_was_set(db: Fixture) {
    let mut before = task("t", 3);
    before.assigned_agent_id = Some("ann".to_owned());
    before.completed_at = Some(before.created_at);
    db.store.insert_task(&before).await.unwrap();
    let update = db.store.update_task(before.id, None, |task| {
        (task.assigned_agent_id, task.completed_at) = (None, None);
        Ok::<_, Never>(())
    });
    update.await.unwrap();
    let after = db.store.task(before.id).await.unwrap().unwrap();
    assert_eq!((after.assigned_agent_id, after.completed_at), (None, None));
}

async fn a_change_that_expects_another_version_does_nothing(db: Fixture) {
    let (task, record) = (task("t", 1), record("r", "", &[]));
    db.store.insert_task(&task).await.unwrap();
    db.store.insert_record(&record).await.unwrap();
    let calls = AtomicU32::new(0);
    for expected in [0, 2, -1, i64::MAX] {
        let refused = [
            db.store
                .update_task(task.id, Some(expected), |_| count(&calls))
                .await
                .err(),
            db.store
                .update_record(record.id, Some(expected), |_| count(&calls))
                .await
                .err(),
            db.store.delete_task(task.id, Some(expected)).await.err(),
            db.store
                .delete_record(record.id, Some(expected))
                .await
                .err(),
        ];
        for error in refused {
            assert!(
                matches!(error, Some(UpdateError::VersionMismatch { current: 1 })),
                "{error:?}"
            );
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(db.store.task(task.id).await.unwrap(), Some(task));
    assert_eq!(db.store.record(record.id).await.unwrap(), Some(record));
}

async fn what_does_not_exist_is_not_found(db: Fixture) {
    let id = Uuid::nil();
    let missing = [
        db.store
            .update_task(id, Some(1), |_| Ok::<_, Never>(()))
            .await
            .err(),
        db.store
            .update_record(id, None, |_| Ok::<_, Never>(()))
            .await
            .err(),
        db.store.delete_task(id, Some(1)).await.err(),
        db.store.delete_record(id, None).await.err(),
    ];
    for error in missing {
        assert!(matches!(error, Some(UpdateError::NotFound)), "{error:?}");
    }
}

async fn deleted_is_gone(db: Fixture) {
    let (task, record) = (task("t", 1), record("r", "", &[]));
    db.store.insert_task(&task).await.unwrap();
    db.store.insert_record(&record).await.unwrap();
    db.store.delete_task(task.id, Some(1)).await.unwrap();
    db.store.delete_record(record.id, Some(1)).await.unwrap();
    assert!(db.store.is_empty().await.unwrap());
    assert!(matches!(
        db.store.delete_task(task.id, None).await,
        Err(UpdateError::NotFound)
    ));
}

async fn a_refused_or_empty_change_writes_nothing(db: Fixture) {
    let task = task("t", 1);
    db.store.insert_task(&task).await.unwrap();
    let refused = db.store.update_task(task.id, None, |task| {
        task.title = "changed".to_owned();
        Err("no")
    });
    assert!(matches!(refused.await, Err(UpdateError::Rejected("no"))));
    let same = db
        .store
        .update_task(task.id, None, |_| Ok::<_, Never>(()))
        .await
        .unwrap();
    assert_eq!(same, task);
    assert_eq!(db.store.task(task.id).await.unwrap(), Some(task));
}

async fn concurrent_updates_lose_nothing(db: Fixture) {
    // Ten times as many as there are connections, so that new ones join as fast as others win.
    const WRITERS: i16 = 60;
    const ROUNDS: i16 = 5;
    let (task, record) = (task("0", 1), record("0", "", &[]));
    db.store.insert_task(&task).await.unwrap();
    db.store.insert_record(&record).await.unwrap();
    let add_one = |title: &mut String| *title = (title.parse::<i16>().unwrap() + 1).to_string();

    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, task, record) = (db.store.clone(), task.id, record.id);
        writers.spawn(async move {
            for _ in 0..ROUNDS {
                let update = store.update_task(task, None, |task| {
                    add_one(&mut task.title);
                    Ok::<_, Never>(())
                });
                update.await.unwrap();
                let update = store.update_record(record, None, |record| {
                    add_one(&mut record.title);
                    Ok::<_, Never>(())
                });
                update.await.unwrap();
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let total = WRITERS * ROUNDS;
    let task = db.store.task(task.id).await.unwrap().unwrap();
    assert_eq!(
        (task.title, task.version),
        (total.to_string(), i64::from(total) + 1)
    );
    let record = db.store.record(record.id).await.unwrap().unwrap();
    assert_eq!(
        (record.title, record.version),
        (total.to_string(), i64::from(total) + 1)
    );
}

async fn of_many_writers_that_expect_one_version_exactly_one_wins(db: Fixture) {
    let task = task("t", 1);
    db.store.insert_task(&task).await.unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..12 {
        let (store, id) = (db.store.clone(), task.id);
        writers.spawn(async move {
            let update = store.update_task(id, Some(1), |task| {
                task.title = format!("by {writer}");
                Ok::<_, Never>(())
            });
            update.await.map(|task| task.title)
        });
    }
    let outcomes = writers.join_all().await;
    let won: Vec<&String> = outcomes.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    let lost = |outcome: &Result<_, _>| {
        matches!(outcome, Err(UpdateError::VersionMismatch { current: 2 }))
    };
    assert_eq!(
        outcomes.iter().filter(|outcome| lost(outcome)).count(),
        11,
        "{outcomes:?}"
    );
    assert_eq!(
        &db.store.task(task.id).await.unwrap().unwrap().title,
        won[0]
    );
}

fn count(calls: &AtomicU32) -> Result<(), Never> {
    calls.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
