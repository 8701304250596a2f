//! The sample that `serve --demo` fills an empty database with.

use init_graph::BoxError;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    domain::{NewRecord, NewTask, Record, Task},
    store::Store,
};

/// Inserts the sample when there is neither a record nor a task; whether it did. All of it or nothing,
/// also when the process dies meanwhile.
///
/// # Errors
///
/// The database failed. Two processes that do this at the same time may both insert.
pub async fn fill_when_empty(store: &Store) -> Result<bool, BoxError> {
    if !store.is_empty().await? {
        return Ok(false);
    }
    let now = Timestamp::now();
    let records: Vec<Record> = lines::<NewRecord>(RECORDS)
        .map(|record| Ok(Record::new(record?, now)?))
        .collect::<Result<_, BoxError>>()?;
    let tasks: Vec<Task> = lines::<NewTask>(TASKS)
        .map(|task| Ok(Task::new(task?, now)?))
        .collect::<Result<_, BoxError>>()?;
    // At once: half a sample would make the database look filled for ever.
    store.insert_tasks_and_records(&tasks, &records).await?;
    Ok(true)
}

fn lines<T: DeserializeOwned>(text: &'static str) -> impl Iterator<Item = serde_json::Result<T>> {
    text.lines().map(serde_json::from_str)
}

const RECORDS: &str = include_str!("../../demo/records.ndjson");
const TASKS: &str = include_str!("../../demo/tasks.ndjson");

#[cfg(test)]
mod tests {
    use db_pool::PoolConfig;

    use super::*;

    #[test]
    fn every_line_of_the_sample_is_valid() {
        let now = Timestamp::now();
        for record in lines::<NewRecord>(RECORDS) {
            Record::new(record.expect("JSON"), now).expect("valid record");
        }
        for task in lines::<NewTask>(TASKS) {
            Task::new(task.expect("JSON"), now).expect("valid task");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_empty_database_is_filled_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("data.db");
        let store = Store::connect(PoolConfig::embedded(path.to_str().expect("UTF-8")))
            .await
            .expect("open");
        store.migrate().await.expect("migrate");
        assert!(fill_when_empty(&store).await.expect("fill"));
        assert!(!fill_when_empty(&store).await.expect("look"));
        let stored = (
            store.task_count().await.expect("count"),
            store.record_count().await.expect("count"),
        );
        let lines = |text: &str| u64::try_from(text.lines().count()).expect("few");
        assert_eq!(stored, (lines(TASKS), lines(RECORDS)));
        store.close().await;
    }
}
