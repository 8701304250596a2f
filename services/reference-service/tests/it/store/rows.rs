//! What is written reads back unchanged; what cannot be stored is refused.

use reference_service::{
    domain::{RecordFilter, Task, TaskFilter, TaskStatus, new_id},
    store::{StoreError, UpdateError},
};
use uuid::Uuid;

use super::fixture::{Fixture, Never, at, record, task};

on_both! {
    every_field_of_a_task_reads_back,
    every_field_of_a_record_reads_back,
    an_id_is_taken_only_once,
    text_with_nul_is_refused_before_it_reaches_the_database,
    a_row_that_this_service_never_wrote_is_corrupt_and_not_a_panic,
}

async fn every_field_of_a_task_reads_back(db: Fixture) {
    let mut full = task("Ünïcode 🙂 \"quotes\" \\ %_", 9);
    full.description = Some("line\nline\r\n\ttab".to_owned());
    full.assigned_agent_id = Some("agent-7".to_owned());
    full.status = TaskStatus::Failed;
    full.created_at = at("1969-12-31T23:59:59.999999Z");
    full.updated_at = at("9999-12-30T21:59:59.999999Z");
    full.completed_at = Some(at("1999-12-31T23:59:59.000001Z"));
    full.version = i64::MAX;
    let empty = Task {
        description: Some(String::new()),
        ..task("t", 0)
    };
    let plain = task("plain", 5);

    for task in [&full, &empty, &plain] {
        db.store.insert_task(task).await.unwrap();
    }
    for task in [full, empty, plain] {
        assert_eq!(db.store.task(task.id).await.unwrap(), Some(task));
    }
    assert_eq!(db.store.task(Uuid::nil()).await.unwrap(), None);
    assert_eq!(db.store.task(Uuid::max()).await.unwrap(), None);
}

async fn every_field_of_a_record_reads_back(db: Fixture) {
    let mut full = record(
        "Tïtle 🙂",
        &"x'\"\\\n".repeat(13_000),
        &["a", "b \"c\"", "日本", "\\u0041"],
    );
    full.importance = 5;
    full.created_at = at("0001-01-01T00:00:00Z");
    full.version = 7;
    let empty = record("t", "", &[]);

    db.store.insert_record(&full).await.unwrap();
    db.store
        .insert_records(std::slice::from_ref(&empty))
        .await
        .unwrap();
    assert_eq!(db.store.record(full.id).await.unwrap(), Some(full));
    assert_eq!(db.store.record(empty.id).await.unwrap(), Some(empty));
    assert_eq!(db.store.record(Uuid::nil()).await.unwrap(), None);
}

async fn an_id_is_taken_only_once(db: Fixture) {
    let (task, record) = (task("t", 1), record("r", "", &["x"]));
    db.store.insert_task(&task).await.unwrap();
    db.store.insert_record(&record).await.unwrap();

    let task_again = db.store.insert_task(&task).await;
    assert!(
        matches!(task_again, Err(StoreError::Conflict(_))),
        "{task_again:?}"
    );
    let record_again = db.store.insert_record(&record).await;
    assert!(
        matches!(record_again, Err(StoreError::Conflict(_))),
        "{record_again:?}"
    );
}

async fn text_with_nul_is_refused_before_it_reaches_the_database(db: Fixture) {
    let invalid = |error: StoreError| matches!(error, StoreError::InvalidText { .. });
    let (mut task, mut record) = (task("t", 1), record("r", "", &["x"]));
    db.store.insert_task(&task).await.unwrap();
    db.store.insert_record(&record).await.unwrap();
    let refused = db.store.update_task(task.id, None, |task| {
        task.description = Some("\0".to_owned());
        Ok::<_, Never>(())
    });
    let refused = refused.await.unwrap_err();
    assert!(matches!(
        refused,
        UpdateError::Store(StoreError::InvalidText {
            field: "description"
        })
    ));
    let refused = db.store.update_record(record.id, None, |record| {
        record.tags.push("a\0".to_owned());
        Ok::<_, Never>(())
    });
    let refused = refused.await.unwrap_err();
    assert!(matches!(
        refused,
        UpdateError::Store(StoreError::InvalidText { field: "tags" })
    ));

    (task.id, record.id) = (new_id(task.created_at), new_id(task.created_at));
    task.title.push('\0');
    record.text.push('\0');
    assert!(invalid(db.store.insert_task(&task).await.unwrap_err()));
    assert!(invalid(db.store.insert_record(&record).await.unwrap_err()));
    assert!(invalid(
        db.store.insert_records(&[record]).await.unwrap_err()
    ));
    let filter = TaskFilter {
        assigned_agent_id: Some("\0".to_owned()),
        ..Default::default()
    };
    assert!(invalid(db.store.tasks(&filter, None, 1).await.unwrap_err()));
    let filter = RecordFilter {
        tag: Some("\0".to_owned()),
        ..Default::default()
    };
    assert!(invalid(
        db.store.records(&filter, None, 1).await.unwrap_err()
    ));
}

async fn a_row_that_this_service_never_wrote_is_corrupt_and_not_a_panic(db: Fixture) {
    let record = record("r", "", &["x"]);
    db.store.insert_record(&record).await.unwrap();
    db.sql("UPDATE records SET tags = '[1]'").await;
    let error = db.store.record(record.id).await.unwrap_err();
    assert!(error.is_corrupt() && !error.is_unavailable(), "{error:?}");
}
