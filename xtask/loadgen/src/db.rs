//! Drives `db-pool` directly: what the pool and the database do without HTTP before them.

mod by_key;
mod table;

use std::fmt;
use std::sync::Arc;

use table::Table;

use crate::load::refuse;
use crate::{Load, LoadError, Measured, Stop, operations};

/// What is asked of which database.
#[derive(Clone, PartialEq, Eq)]
pub struct DbConfig {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`. A table of our own is made in it and dropped afterwards;
    /// nothing else is touched. A SQLite file that was not there is removed afterwards. A run that is killed leaves its
    /// table, `loadgen_` and a number.
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
    config: &DbConfig,
    load: &Load,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Measured, DbError> {
    load.validate()?;
    config.validate()?;
    let runtime = operations::runtime(load).map_err(DbError::System)?;
    let table = Arc::new(runtime.block_on(Table::make(config, load))?);
    let measured = operations::drive(&runtime, &table, load, stop, progress);
    let status = table.pool_status();
    let left = runtime.block_on(table.drop_it());
    let mut measured = measured.map_err(DbError::System)?;
    measured.pool_wait = table.pool_wait();
    measured.notes.push(status);
    measured
        .notes
        .extend(left.map(|name| format!("table {name} could not be dropped: drop it by hand")));
    Ok(measured)
}

/// Without the password.
impl fmt::Debug for DbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DbConfig")
            .field("url", &db_pool::redact(&self.url))
            .field("rows", &self.rows)
            .field("connections", &self.connections)
            .field("lane_reads", &self.lane_reads)
            .field("reads", &self.reads)
            .field("updates", &self.updates)
            .finish()
    }
}

/// What it is asked, by the names of an outcome's routes.
pub(crate) const OPERATIONS: [&str; 3] = ["lane-read", "read", "update"];

impl DbConfig {
    fn validate(&self) -> Result<(), LoadError> {
        if self.rows == 0 {
            return Err(refuse("rows", self.rows, "expected at least one"));
        }
        let weights = [self.lane_reads, self.reads, self.updates];
        if weights.iter().all(|weight| *weight == 0) {
            let problem = "one of lane_reads, reads and updates has to be above 0";
            return Err(refuse("weights", format!("{weights:?}"), problem));
        }
        Ok(())
    }
}
