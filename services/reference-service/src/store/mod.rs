//! The store: tasks and records in SQLite or PostgreSQL behind one type, so that nothing above it
//! knows which database runs below.
//!
//! Every query is written once. The macros of `on_backend.rs` expand it for
//! each database, where it is then an ordinary, fully typed diesel query; only the text search has
//! two spellings (`search.rs`). Reads go through lanes, writes through pooled connections; on SQLite
//! that means many readers beside one writer.

#[macro_use]
mod cached;
#[macro_use]
mod on_backend;

mod backup;
mod batch;
mod epoch;
mod error;
#[cfg(test)]
mod explain;
mod health;
mod hold;
mod import;
mod indexes;
mod records;
mod schema;
mod search;
mod tasks;
mod types;
mod update;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use db_pool::{
    BackendKind, Pool, PoolConfig, Postgres, Replicas, ReplicasConfig, ReplicasStatus, Sqlite,
    Status,
};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::domain::{RecordFilter, TaskFilter};

pub use error::{StoreError, UpdateError};
pub use hold::{DataHold, Hold};
pub use import::Batch;

/// The most rows that one listing returns: a page of 1,000 and the row that proves there is more.
pub const LIST_ROWS_MAX: usize = 1_001;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Tasks and records in a database; a cheap clone over a shared pool.
///
/// A method that writes either happened wholly or not at all, also when its future is dropped or the
/// process dies; after a drop it is unknown which of the two. Waits are bounded by the pool's
/// configuration.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Pools,
    /// For how long first pages may be remembered; empty while each asks the database.
    listings_ttl: Arc<OnceLock<Duration>>,
}

#[derive(Clone, Debug)]
enum Pools {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
    /// Several PostgreSQL servers of one database.
    Replicated(Replicas),
}

impl Store {
    /// Opens the database that the URL in `config` names. The schema is not touched; see
    /// [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// [`StoreError::Open`] for a setting that cannot work or a database that cannot be opened.
    pub async fn connect(config: PoolConfig) -> Result<Self, StoreError> {
        let kind = BackendKind::from_url(&config.url).map_err(db_pool::OpenError::from)?;
        let pools = match kind {
            BackendKind::Sqlite => Pools::Sqlite(Pool::connect(config).await?),
            // A kind that this store does not know is refused by the pool itself.
            _ => Pools::Postgres(Pool::connect(config).await?),
        };
        Ok(Self {
            pools,
            listings_ttl: Arc::default(),
        })
    }

    /// Opens a database of several PostgreSQL servers: reads of listings go to its replicas, everything else to the
    /// primary, whichever that is.
    ///
    /// A request sees what it wrote itself, if it runs in a `db_pool::Scope`.
    ///
    /// # Errors
    /// [`StoreError::Open`] for a setting that cannot work, or if not one server answers.
    pub async fn connect_replicated(config: ReplicasConfig) -> Result<Self, StoreError> {
        let servers = Replicas::connect(config).await?;
        Ok(Self {
            pools: Pools::Replicated(servers),
            listings_ttl: Arc::default(),
        })
    }

    /// Brings the schema up to date and names the migrations that ran; none when it was.
    ///
    /// Several processes may do so at once; each migration runs once.
    ///
    /// # Errors
    /// [`StoreError::Migrate`]; the migrations before the failed one stay.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let ran = match &self.pools {
            Pools::Sqlite(pool) => pool.migrate(SQLITE_MIGRATIONS).await?,
            Pools::Postgres(pool) => pool.migrate(POSTGRES_MIGRATIONS).await?,
            Pools::Replicated(servers) => primary(servers)?.migrate(POSTGRES_MIGRATIONS).await?,
        };
        Ok(ran)
    }

    /// Which database this is.
    #[must_use]
    pub fn backend(&self) -> BackendKind {
        match &self.pools {
            Pools::Sqlite(_) => BackendKind::Sqlite,
            Pools::Postgres(_) | Pools::Replicated(_) => BackendKind::Postgres,
        }
    }

    /// The state of all servers at this moment; nothing where there are no replicas.
    #[must_use]
    pub fn servers(&self) -> Option<ReplicasStatus> {
        match &self.pools {
            Pools::Replicated(servers) => Some(servers.status()),
            _ => None,
        }
    }

    /// The state of the pool at this moment; of several, that of the primary.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.pools {
            Pools::Sqlite(pool) => pool.status(),
            Pools::Postgres(pool) => pool.status(),
            Pools::Replicated(servers) => match servers.primary() {
                Some(pool) => pool.status(),
                None => servers
                    .status()
                    .servers
                    .into_iter()
                    .find_map(|server| server.pool)
                    .expect("one server had answered when it was opened, and its pool stays"),
            },
        }
    }

    /// Whether there is neither a task nor a record.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let tasks = self.tasks(&TaskFilter::default(), None, 1).await?;
        let records = self.records(&RecordFilter::default(), None, 1).await?;
        Ok(tasks.is_empty() && records.is_empty())
    }

    /// Asks the database for a sign of life and returns how long it took.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection could be had or nothing answered in time.
    pub async fn ping(&self) -> Result<Duration, StoreError> {
        let took = match &self.pools {
            Pools::Sqlite(pool) => pool.ping().await?,
            Pools::Postgres(pool) => pool.ping().await?,
            Pools::Replicated(servers) => primary(servers)?.ping().await?,
        };
        Ok(took)
    }

    /// Closes the pool: waits, for a bounded time, until what is borrowed came back. Every later call
    /// fails with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(pool) => pool.close().await,
            Pools::Postgres(pool) => pool.close().await,
            Pools::Replicated(servers) => servers.close().await,
        };
    }
}

/// The pool of the server that takes writes now.
fn primary(servers: &Replicas) -> Result<Pool<Postgres>, StoreError> {
    let none = || StoreError::Unavailable("no server takes writes at this moment".into());
    servers.primary().ok_or_else(none)
}

/// The row limit of a listing as SQL wants it.
fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit.min(LIST_ROWS_MAX)).unwrap_or(i64::MAX)
}

/// Refuses the one character that PostgreSQL cannot store, on both databases alike.
fn no_nul(field: &'static str, text: &str) -> Result<(), StoreError> {
    if text.contains('\0') {
        Err(StoreError::InvalidText { field })
    } else {
        Ok(())
    }
}
