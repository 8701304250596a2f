//! A table of our own in a database that may hold others: made, read, changed, dropped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use db_pool::{AcquireError, BackendKind, Pool, PoolConfig, Postgres, Sqlite};
use diesel_async::SimpleAsyncConnection;

use super::by_key::ByKey;
use super::{DbConfig, DbError};
use crate::operations::Operations;
use crate::schedule::nanoseconds;
use crate::{ErrorClass, Load};

/// The table, and the pool through which it is used.
#[derive(Debug)]
pub(super) struct Table {
    pool: EitherPool,
    name: String,
    rows: i64,
    weights: [u32; 3],
    /// The SQLite file, if it was not there before.
    file: Option<PathBuf>,
    waited_ns: AtomicU64,
    took_ns: AtomicU64,
}

#[derive(Debug)]
enum EitherPool {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
}

/// The same for both: their connections are of different types, and code generic over them would be mostly bounds.
macro_rules! with_pool {
    ($either:expr, $pool:ident => $do:expr) => {
        match $either {
            EitherPool::Sqlite($pool) => $do,
            EitherPool::Postgres($pool) => $do,
        }
    };
}

impl Table {
    /// Opens the pool and makes the table.
    pub(super) async fn make(config: &DbConfig, load: &Load) -> Result<Self, DbError> {
        let settings = PoolConfig {
            name: "loadgen".to_owned(),
            max_size: config.connections,
            // Whoever asks too much shall see how long it waits, not be turned away.
            max_waiting: u32::MAX,
            acquire_timeout: load.timeout,
            ..PoolConfig::web(&*config.url)
        };
        let kind = BackendKind::from_url(&config.url).map_err(db_pool::OpenError::from)?;
        let file = file(&config.url).filter(|file| kind == BackendKind::Sqlite && !file.exists());
        let pool = match kind {
            BackendKind::Sqlite => EitherPool::Sqlite(Pool::connect(settings).await?),
            BackendKind::Postgres => EitherPool::Postgres(Pool::connect(settings).await?),
        };
        let table = Self {
            pool,
            name: format!("loadgen_{}", fastrand::u64(..)),
            rows: config.rows.into(),
            weights: [config.lane_reads, config.reads, config.updates],
            file,
            waited_ns: AtomicU64::new(0),
            took_ns: AtomicU64::new(0),
        };
        let filled = table.execute(&table.creation()).await;
        if let Err(error) = filled {
            table.drop_it().await;
            return Err(DbError::Table(error));
        }
        Ok(table)
    }

    /// Drops the table, closes the pool and removes what was not there before. Returns the name of what is left, if
    /// the database did not let us.
    pub(super) async fn drop_it(&self) -> Option<String> {
        let dropped = self
            .execute(&format!("DROP TABLE IF EXISTS {}", self.name))
            .await;
        with_pool!(&self.pool, pool => pool.close().await);
        if let Some(file) = &self.file {
            for ending in ["", "-wal", "-shm"] {
                let mut file = file.clone().into_os_string();
                file.push(ending);
                // Closed, SQLite has removed the other two itself.
                let _ = std::fs::remove_file(file);
            }
            return None;
        }
        dropped.is_err().then(|| self.name.clone())
    }

    /// Share of the operations' time that was spent waiting for a connection.
    pub(super) fn pool_wait(&self) -> Option<f64> {
        let took = self.took_ns.load(Ordering::Relaxed);
        (took > 0).then(|| self.waited_ns.load(Ordering::Relaxed) as f64 / took as f64)
    }

    pub(super) fn pool_status(&self) -> String {
        with_pool!(&self.pool, pool => pool.status().to_string())
    }

    fn creation(&self) -> String {
        let Self { name, rows, .. } = self;
        // Of SQLite's types only this one makes the key the row's own number, which is what an application does.
        let key = match self.pool {
            EitherPool::Sqlite(_) => "INTEGER",
            EitherPool::Postgres(_) => "BIGINT",
        };
        format!(
            "CREATE TABLE {name} (id {key} PRIMARY KEY, value TEXT NOT NULL, version BIGINT NOT NULL); \
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows}) \
             INSERT INTO {name} SELECT n, '{VALUE}' || n, 0 FROM numbers"
        )
    }

    async fn execute(&self, statements: &str) -> diesel::QueryResult<()> {
        with_pool!(&self.pool, pool => pool.acquire().await?.batch_execute(statements).await)
    }

    async fn one(&self, operation: usize, id: i64) -> Result<(), ErrorClass> {
        // Here alone: it gives a `load` and an `execute` to everything, also to atomics and to this type.
        use diesel_async::RunQueryDsl;

        let began = Instant::now();
        let table = &*self.name;
        with_pool!(&self.pool, pool => match operation {
            LANE_READ => {
                let mut lane = pool.read().await.map_err(not_acquired)?;
                self.waited(began);
                check(ByKey::read(table, id).get_result(&mut lane).await, id)
            }
            READ => {
                let mut connection = pool.acquire().await.map_err(not_acquired)?;
                self.waited(began);
                check(ByKey::read(table, id).get_result(&mut connection).await, id)
            }
            _ => {
                let mut connection = pool.acquire().await.map_err(not_acquired)?;
                self.waited(began);
                match ByKey::update(table, id).execute(&mut connection).await {
                    Ok(1) => Ok(()),
                    Ok(_) => Err(ErrorClass::Body),
                    Err(_) => Err(ErrorClass::Status),
                }
            }
        })
    }

    fn waited(&self, began: Instant) {
        self.waited_ns
            .fetch_add(nanoseconds(began.elapsed()), Ordering::Relaxed);
    }
}

impl Operations for Table {
    const NAMES: [&'static str; 3] = super::OPERATIONS;

    fn weights(&self) -> [u32; 3] {
        self.weights
    }

    async fn carry_out(
        &self,
        operation: usize,
        random: &mut fastrand::Rng,
    ) -> Result<(), ErrorClass> {
        let id = random.i64(1..=self.rows);
        let began = Instant::now();
        let result = self.one(operation, id).await;
        self.took_ns
            .fetch_add(nanoseconds(began.elapsed()), Ordering::Relaxed);
        result
    }
}

fn check(value: diesel::QueryResult<String>, id: i64) -> Result<(), ErrorClass> {
    let value = value.map_err(|_| ErrorClass::Status)?;
    let number = value
        .strip_prefix(VALUE)
        .and_then(|number| number.parse().ok());
    if number == Some(id) {
        Ok(())
    } else {
        Err(ErrorClass::Body)
    }
}

fn not_acquired(error: AcquireError) -> ErrorClass {
    match error {
        AcquireError::ConnectFailed { .. } => ErrorClass::Connect,
        error if error.is_timeout() => ErrorClass::Timeout,
        _ => ErrorClass::Closed,
    }
}

fn file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    path.split('?').next().map(PathBuf::from)
}

const LANE_READ: usize = 0;
const READ: usize = 1;
/// Begins the text of each row, which its number ends.
const VALUE: &str = "some forty bytes of a row that is short ";
