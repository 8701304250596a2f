//! The sample that `serve --demo` fills an empty database with.

use init_graph::BoxError;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    domain::{NewRecord, NewTask, Record, Task},
    store::Store,
};

/// Inserts the sample when there is neither a record nor a task; whether it did.
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
    for task in lines::<NewTask>(TASKS) {
        store.insert_task(&Task::new(task?, now)?).await?;
    }
    store.insert_records(&records).await?;
    Ok(true)
}

fn lines<T: DeserializeOwned>(text: &'static str) -> impl Iterator<Item = serde_json::Result<T>> {
    text.lines().map(serde_json::from_str)
}

const RECORDS: &str = include_str!("../../demo/records.ndjson");
const TASKS: &str = include_str!("../../demo/tasks.ndjson");

#[cfg(test)]
mod tests {
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
}
