//! Drives `db-pool` directly: what the pool and the database do without HTTP before them.

use crate::{Load, LoadError, Measured, Stop};

/// What is asked of which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbConfig {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`. A table of our own is made in it and dropped afterwards;
    /// nothing else is touched. A SQLite file that was not there is removed afterwards.
    pub url: String,
    /// Rows of that table.
    pub rows: u32,
    /// Most connections of the pool.
    pub connections: u32,
    /// Weight of reading one row by its key on a lane (`Pool::read`).
    pub lane_reads: u32,
    /// Weight of reading one row by its key on a borrowed connection (`Pool::acquire`).
    pub reads: u32,
    /// Weight of changing one row by its key.
    pub updates: u32,
}

impl Default for DbConfig {
    /// Nothing but reads on lanes, over 10,000 rows and ten connections; no URL.
    fn default() -> Self {
        Self {
            url: String::new(),
            rows: 10_000,
            connections: 10,
            lane_reads: 1,
            reads: 0,
            updates: 0,
        }
    }
}

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The load cannot be carried out.
    #[error("impossible load")]
    Load(#[from] LoadError),
    /// The database cannot be opened.
    #[error("the database cannot be opened")]
    Open(#[from] db_pool::OpenError),
    /// The table cannot be made.
    #[error("the table to be read cannot be made")]
    Table(#[source] diesel::result::Error),
    /// The system refuses a thread.
    #[error("the generator cannot start")]
    System(#[source] std::io::Error),
}

/// Sends `load` to a pool, blocking until it is over; `progress` as in [`run`](crate::run).
///
/// An operation's time includes the wait for a connection. `Load::connections` bounds how many an open model has under
/// way, and `Load::threads` are the workers of the pool's own runtime.
///
/// # Errors
/// Only for what keeps a run from beginning.
pub fn run(
    _config: &DbConfig,
    _load: &Load,
    _stop: &Stop,
    _progress: &(dyn Fn(f64) + Sync),
) -> Result<Measured, DbError> {
    todo!()
}
