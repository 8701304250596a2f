//! The lock by which servers and offline writers on one PostgreSQL database know of each other.
//!
//! Servers share it, an offline writer wants it alone. It belongs to a session of its own, so it
//! ends with the process however that ends. A SQLite file has a lock file instead. Behind a
//! PgBouncer in transaction mode, sessions are not ours and the lock protects nothing.

use db_pool::{Connection, Pool, PoolConfig, Postgres};
use diesel::{dsl::sql, sql_types::Bool};
use diesel_async::RunQueryDsl;

use super::{Pools, Store, error::StoreError};

/// How the data is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// Beside other servers.
    Shared,
    /// By an offline writer, alone.
    Alone,
}

/// Holds the data until it is dropped.
#[derive(Debug)]
pub struct DataHold {
    // Dropped in this order: the session goes back, then its pool closes it.
    _session: Option<Connection<Postgres>>,
    _pool: Option<Pool<Postgres>>,
}

impl Store {
    /// Holds the data; nothing when somebody holds it in a way that excludes this one.
    ///
    /// Never waits for the other one. On SQLite it always succeeds, see `DataLock`.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn hold(&self, hold: Hold) -> Result<Option<DataHold>, StoreError> {
        let Pools::Postgres(main) = &self.pools else {
            return Ok(Some(DataHold {
                _session: None,
                _pool: None,
            }));
        };
        let pool = Pool::<Postgres>::connect(PoolConfig {
            max_size: 1,
            min_idle: 0,
            max_lifetime: None,
            ..main.config().clone()
        })
        .await?;
        let mut session = pool.acquire().await?;
        let statement = match hold {
            Hold::Shared => format!("pg_try_advisory_lock_shared({LOCK})"),
            Hold::Alone => format!("pg_try_advisory_lock({LOCK})"),
        };
        let held: bool = diesel::select(sql::<Bool>(&statement))
            .get_result(&mut session)
            .await?;
        Ok(held.then_some(DataHold {
            _session: Some(session),
            _pool: Some(pool),
        }))
    }
}

/// Any number that nobody else on the database uses; the migrations have one of their own.
const LOCK: i64 = 0x7265_6673_7276_6431;
