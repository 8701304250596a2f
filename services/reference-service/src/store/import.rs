//! Many rows at once: all of them or none.

use db_pool::TransactionOptions;
use diesel_async::RunQueryDsl;
use tokio::sync::mpsc;

use super::{
    Store,
    batch::{InsertRecords, ROWS_PER_STATEMENT},
    epoch,
    error::StoreError,
    records::RecordRow,
    schema::tasks,
    tasks::TaskRow,
    update::Versioned,
};
use crate::domain::{Record, Task};

/// A part of an import.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Records to store.
    Records(Vec<Record>),
    /// There are no more: commit. A queue that closes without it is rolled back.
    End,
}

impl Store {
    /// Stores many new records in one transaction: all of them or none.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of the identifiers is taken.
    pub async fn insert_records(&self, records: &[Record]) -> Result<(), StoreError> {
        self.insert_tasks_and_records(&[], records).await
    }

    /// Stores new tasks and new records in one transaction: all of them or none, also when the
    /// process dies meanwhile.
    ///
    /// One statement per task: for a handful of them beside many records.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of the identifiers is taken.
    pub async fn insert_tasks_and_records(
        &self,
        tasks: &[Task],
        records: &[Record],
    ) -> Result<(), StoreError> {
        tasks.iter().try_for_each(Versioned::check)?;
        records.iter().try_for_each(Versioned::check)?;
        transaction!(self, |conn| {
            for task in tasks {
                let row = TaskRow::from(task);
                let insert = diesel::insert_into(tasks::table).values(&row);
                insert.execute(conn).await?;
            }
            for rows in records.chunks(ROWS_PER_STATEMENT) {
                let rows: Vec<RecordRow> = rows.iter().map(RecordRow::from).collect();
                InsertRecords(&rows).execute(conn).await?;
            }
            Ok(())
        })
    }

    /// Stores the records that come through `queue` in one transaction, which also raises the cache
    /// epoch, and returns how many they were. Memory stays as flat as the queue is.
    ///
    /// For writers that bypass a running service: on SQLite nobody else can write until it is over.
    ///
    /// # Errors
    /// [`StoreError::ImportEnded`] when the queue closes before [`Batch::End`],
    /// [`StoreError::Conflict`] when one of the identifiers is taken. Nothing is stored then.
    pub async fn import_records(&self, queue: mpsc::Receiver<Batch>) -> Result<u64, StoreError> {
        let mut queue = queue;
        // What came through the queue is gone, so it cannot run again.
        transaction!(self, once, |conn| {
            let mut stored = 0;
            loop {
                // Dropped here, as everywhere before the commit, the transaction is rolled back.
                let records = match queue.recv().await.ok_or(StoreError::ImportEnded)? {
                    Batch::Records(records) => records,
                    Batch::End => break,
                };
                records.iter().try_for_each(Versioned::check)?;
                for rows in records.chunks(ROWS_PER_STATEMENT) {
                    let rows: Vec<RecordRow> = rows.iter().map(RecordRow::from).collect();
                    stored += InsertRecords(&rows).execute(conn).await?;
                }
            }
            epoch::bump().execute(conn).await?;
            Ok(u64::try_from(stored).unwrap_or(u64::MAX))
        })
    }
}
