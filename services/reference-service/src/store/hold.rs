//! The lock by which servers and offline writers on one PostgreSQL database know of each other.
//!
//! Servers share it, an offline writer wants it alone. It belongs to a session of its own, so it
//! ends with the process however that ends. A session that breaks takes the lock with it, so a task
//! looks after the session and takes the lock again on a new one. A SQLite file has a lock file instead. Behind a
//! PgBouncer in transaction mode, sessions are not ours and the lock protects nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use db_pool::{Connection, Pool, PoolConfig, Postgres, Replicas};
use diesel::{dsl::sql, sql_types::Bool};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Pools, Store, error::StoreError, primary};

/// How long the keeper waits between two looks at its session, and between two attempts to take a
/// lost lock again.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// A session that has not answered for so long counts as lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How the data is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hold {
    /// Beside other servers.
    Shared,
    /// By an offline writer, alone.
    Alone,
}

/// Holds the data until it is dropped; then the lock is released at once, in the background.
#[derive(Debug)]
pub struct DataHold {
    trouble: Trouble,
    _keeper: Option<AbortOnDropHandle<()>>,
}

impl DataHold {
    /// Why the data is not held at this moment, as far as is known; nothing while it is.
    ///
    /// Never waits. A broken session is noticed within seconds. What an offline writer stored while
    /// the lock was lost, the caches of this process do not know.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.get()
    }
}

impl Store {
    /// Holds the data; nothing when somebody holds it in a way that excludes this one.
    ///
    /// Never waits for the other one. On SQLite it always succeeds, see `DataLock`; behind PgBouncer it
    /// does as well and protects nothing.
    ///
    /// On PostgreSQL it spawns a task, which ends when the [`DataHold`] is dropped. Every two seconds
    /// it asks its session for a sign of life; when there is none it says so through
    /// [`DataHold::trouble`] and takes the lock again, on a new session, as often as it needs.
    ///
    /// # Errors
    /// The database's failures only.
    pub async fn hold(&self, hold: Hold) -> Result<Option<DataHold>, StoreError> {
        let trouble = Trouble::default();
        let main = match &self.pools {
            // A lock would stay with whichever of PgBouncer's sessions took it, for ever.
            Pools::Postgres(main) if !main.config().pgbouncer => main.config().clone(),
            Pools::Replicated(servers) if !servers.config().pool.pgbouncer => {
                primary(servers)?.config().clone()
            }
            _ => {
                return Ok(Some(DataHold {
                    trouble,
                    _keeper: None,
                }));
            }
        };
        let pool = session_pool(main).await?;
        let servers = match &self.pools {
            Pools::Replicated(servers) => Some(servers.clone()),
            _ => None,
        };
        let mut keeper = Keeper {
            session: None,
            pool,
            servers,
            hold,
            trouble: trouble.clone(),
        };
        if !keeper.take().await? {
            return Ok(None);
        }
        let keeper = tokio::spawn(keeper.keep());
        Ok(Some(DataHold {
            trouble,
            _keeper: Some(AbortOnDropHandle::new(keeper)),
        }))
    }
}

/// A pool for that one session.
async fn session_pool(main: PoolConfig) -> Result<Pool<Postgres>, StoreError> {
    let pool = Pool::connect(PoolConfig {
        name: "data lock".to_owned(),
        max_size: 1,
        min_idle: 0,
        overflow: 0,
        lanes: 0,
        // Its only connection is lent for as long as the process lives.
        max_lifetime: None,
        leak_after: None,
        ..main
    });
    Ok(pool.await?)
}

/// Owns the session that owns the lock.
struct Keeper {
    /// Some only while the lock is held, as far as is known, and while it is being taken.
    session: Option<Connection<Postgres>>,
    pool: Pool<Postgres>,
    /// Where another server may be the primary by the time that the lock is taken again.
    servers: Option<Replicas>,
    hold: Hold,
    trouble: Trouble,
}

impl Keeper {
    /// Never returns. Dropped at any await, the session is closed and the lock is free.
    async fn keep(mut self) {
        loop {
            sleep(CHECK_EVERY).await;
            if let Some(session) = &mut self.session {
                let Err(reason) = check(session).await else {
                    continue;
                };
                tracing::warn!(reason, "the data lock is lost; it is taken again");
                self.trouble.set(Some(format!("lost: {reason}")));
                self.let_go();
            }
            match self.take().await {
                Ok(true) => {
                    tracing::info!("the data lock is held again");
                    self.trouble.set(None);
                }
                Ok(false) => self.trouble.set(Some(EXCLUDED.to_owned())),
                Err(error) => {
                    tracing::debug!(?error, "the data lock could not be taken again");
                    self.trouble.set(Some(format!("lost: {error}")));
                }
            }
        }
    }

    /// Takes the lock on a new session; whether nobody excluded that. Bounded by the limits of the
    /// pool.
    async fn take(&mut self) -> Result<bool, StoreError> {
        let taken = self.try_lock().await;
        if !matches!(taken, Ok(true)) {
            self.let_go();
        }
        taken
    }

    async fn try_lock(&mut self) -> Result<bool, StoreError> {
        if let Some(servers) = &self.servers {
            let main = primary(servers)?.config().clone();
            if main.url != self.pool.config().url {
                self.pool = session_pool(main).await?;
            }
        }
        let statement = match self.hold {
            Hold::Shared => format!("pg_try_advisory_lock_shared({LOCK})"),
            Hold::Alone => format!("pg_try_advisory_lock({LOCK})"),
        };
        // Kept before it is asked: dropped in the middle, the session is closed like any other.
        let session = self.session.insert(self.pool.acquire().await?);
        let locked = diesel::select(sql::<Bool>(&statement)).get_result(session);
        match timeout(ANSWER_WITHIN, locked).await {
            Ok(locked) => Ok(locked?),
            Err(late) => Err(StoreError::Unavailable(Box::new(late))),
        }
    }

    /// Closes the session; given back to the pool it would keep the lock.
    fn let_go(&mut self) {
        if let Some(session) = self.session.take() {
            Connection::discard(session);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Asks for a sign of life: an empty query, which the server need not plan.
async fn check(session: &mut Connection<Postgres>) -> Result<(), String> {
    match timeout(ANSWER_WITHIN, session.batch_execute("")).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the session did not answer within {ANSWER_WITHIN:?}"
        )),
    }
}

/// Why the lock is not held, shared by the keeper and whoever asks.
#[derive(Clone, Debug, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    fn get(&self) -> Option<String> {
        // Nothing panics under the lock, so a poisoned text is still whole.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

const EXCLUDED: &str = "lost, and meanwhile somebody else holds the data";

/// Any number that nobody else on the database uses; the migrations have one of their own.
const LOCK: i64 = 0x7265_6673_7276_6431;
