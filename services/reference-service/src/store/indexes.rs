//! The indexes that the listings rely on, declared where the queries are and looked for at each start.
//!
//! The migrations create them. Somebody may drop one by hand, or restore a schema without it: the
//! service would still be right, and slow.

use db_pool::{Index, IndexError, IndexReport, ensure_indexes};

use super::{Pools, Store, error::StoreError, primary};

/// What `tasks.rs` and `records.rs` count on; the text search has indexes of its own kind.
const INDEXES: &[Index] = ensure_indexes! {
    tasks (assigned_agent_id);
    tasks (assigned_agent_id, completed_at);
    tasks (priority desc, created_at);
    tasks (status, priority desc, created_at);
    record_tags (tag, record_id) unique;
};

impl Store {
    /// Looks for the declared indexes; one that is missing is in the report and no error.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn check_indexes(&self) -> Result<IndexReport, StoreError> {
        let report = match &self.pools {
            Pools::Sqlite(pool) => pool.check_indexes(INDEXES).await?,
            Pools::Postgres(pool) => pool.check_indexes(INDEXES).await?,
            Pools::Replicated(servers) => primary(servers)?.check_indexes(INDEXES).await?,
        };
        Ok(report)
    }
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Acquire(error) => error.into(),
            IndexError::Catalog(error) => error.into(),
            error => Self::Unavailable(Box::new(error)),
        }
    }
}
