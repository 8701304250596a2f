//! What lending a connection and reading a row cost on a SQLite file, beside the pools that people would use instead.

use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

use db_pool::{Pool, PoolConfig, Sqlite};
use deadpool_diesel::RecyclingMethod;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection as _, RunQueryDsl, SimpleAsyncConnection as _};
use futures_util::FutureExt as _;
use harness::Suite;
use tempfile::TempDir;

pub(crate) fn add(suite: &mut Suite) {
    acquire_release(suite);
    point_read(suite);
}

/// Every pool has so many to read with.
const CONNECTIONS: u32 = 4;
pub(crate) const ROWS: i32 = 10_000;

diesel::table! {
    items (id) {
        id -> Integer,
        name -> Text,
    }
}

fn acquire_release(suite: &mut Suite) {
    suite
        .bench("acquire-release")
        .about("borrow an idle connection, give it back; bb8 and deadpool test it each time, ours after 500 ms")
        .ours_async("Pool::read", async || {
            let pool = ours(CONNECTIONS).await;
            let lane = pool.read().await.expect("an idle connection");
            assert_eq!(pool.status().in_use, 1);
            drop(lane);
            async move || drop(pool.read().await.expect("an idle connection"))
        })
        .peer_async("bb8", async || {
            let pool = bb8(CONNECTIONS, true).await;
            async move || drop(pool.get().await.expect("an idle connection"))
        })
        .peer_async("bb8 untested", async || {
            let pool = bb8(CONNECTIONS, false).await;
            async move || drop(pool.get().await.expect("an idle connection"))
        })
        .peer_async("deadpool-diesel", async || {
            let pool = deadpool(RecyclingMethod::Verified);
            async move || drop(pool.get().await.expect("an idle connection"))
        })
        .peer_async("deadpool-diesel untested", async || {
            let pool = deadpool(RecyclingMethod::CustomFunction(Box::new(|_| Ok(()))));
            async move || drop(pool.get().await.expect("an idle connection"))
        });
}

fn point_read(suite: &mut Suite) {
    suite
        .bench("point-read")
        .about("borrow one of 4 connections and select by primary key of 10,000 rows")
        .concurrency(&[1, 64])
        .ours_async("Pool::read", async || {
            let pool = ours(CONNECTIONS).await;
            reads(async move |id| {
                let mut lane = pool.read().await.expect("a connection in time");
                by_id(id).first(&mut lane).await
            })
            .await
        })
        .peer_async("bb8", async || {
            let pool = bb8(CONNECTIONS, true).await;
            reads(async move |id| {
                let mut connection = pool.get().await.expect("a connection in time");
                by_id(id).first(&mut *connection).await
            })
            .await
        })
        .peer_async("bb8 untested", async || {
            let pool = bb8(CONNECTIONS, false).await;
            reads(async move |id| {
                let mut connection = pool.get().await.expect("a connection in time");
                by_id(id).first(&mut *connection).await
            })
            .await
        })
        .peer_async("deadpool-diesel", async || {
            let pool = deadpool(RecyclingMethod::Verified);
            reads(async move |id| {
                let connection = pool.get().await.expect("a connection in time");
                let row = connection.interact(move |connection| blocking(connection, id));
                row.await.expect("no panic")
            })
            .await
        })
        .peer_async("r2d2 spawn_blocking", async || {
            let pool = r2d2();
            reads(async move |id| {
                let pool = pool.clone();
                let row = move || blocking(&mut pool.get().expect("a connection in time"), id);
                tokio::task::spawn_blocking(row).await.expect("no panic")
            })
            .await
        });
}

/// The query that everybody sends.
#[diesel::dsl::auto_type]
pub(crate) fn by_id(id: i32) -> _ {
    items::table.find(id).select(items::name)
}

fn blocking(connection: &mut SqliteConnection, id: i32) -> QueryResult<String> {
    diesel::RunQueryDsl::first(by_id(id), connection)
}

/// Reads some rows to see that they are the right ones; what is returned goes on from row to row, in leaps.
async fn reads(
    read: impl AsyncFn(i32) -> QueryResult<String> + 'static,
) -> impl AsyncFn() -> String {
    for id in (1..=ROWS).step_by(101) {
        assert_eq!(read(id).await, Ok(format!("item {id}")));
    }
    let last = Cell::new(0);
    async move || {
        last.set((last.get() + 7919) % ROWS);
        read(last.get() + 1).await.expect("a row")
    }
}

// === the pools, each with a file of its own ===

/// A pool and the folder of its file, which goes with it.
pub(crate) struct Kept<P> {
    pool: P,
    _folder: TempDir,
}

impl<P> Kept<P> {
    fn new(folder: TempDir, pool: P) -> Self {
        Self {
            pool,
            _folder: folder,
        }
    }
}

impl<P> Deref for Kept<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.pool
    }
}

/// With so many readers.
pub(crate) async fn ours(connections: u32) -> Kept<Pool<Sqlite>> {
    let (folder, file) = database();
    let mut config = PoolConfig::embedded(file);
    // One writes.
    config.max_size = 1 + connections;
    // Many tasks may wait here, and that is the point.
    config.max_waiting = 10_000;
    config.acquire_timeout = Duration::from_secs(30);
    Kept::new(folder, Pool::connect(config).await.expect("a good file"))
}

pub(crate) async fn bb8(
    connections: u32,
    tested: bool,
) -> Kept<bb8::Pool<AsyncDieselConnectionManager<Async>>> {
    let (folder, file) = database();
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(|file| {
        let file = file.to_owned();
        async move {
            let mut connection = Async::establish(&file).await?;
            let set = connection.batch_execute(SETTINGS).await;
            set.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(file, config);
    let pool = bb8::Pool::builder()
        .max_size(connections)
        .test_on_check_out(tested);
    Kept::new(folder, pool.build(manager).await.expect("a good file"))
}

pub(crate) type Async = SyncConnectionWrapper<SqliteConnection>;

fn deadpool(test: RecyclingMethod<SqliteConnection>) -> Kept<deadpool_diesel::sqlite::Pool> {
    use deadpool_diesel::sqlite::{Hook, HookError, Manager, Pool, Runtime};
    let (folder, file) = database();
    let config = deadpool_diesel::ManagerConfig {
        recycling_method: test,
    };
    let manager = Manager::from_config(file, Runtime::Tokio1, config);
    let pool = Pool::builder(manager).max_size(CONNECTIONS as usize);
    let pool = pool.post_create(Hook::sync_fn(|connection, _| {
        let mut connection = connection
            .lock()
            .map_err(|_| HookError::message("a panic"))?;
        let set = connection.batch_execute(SETTINGS);
        set.map_err(|error| HookError::message(error.to_string()))
    }));
    Kept::new(folder, pool.build().expect("a runtime"))
}

fn r2d2() -> Kept<r2d2::Pool<r2d2::ConnectionManager<SqliteConnection>>> {
    let (folder, file) = database();
    let pool = r2d2::Pool::builder().max_size(CONNECTIONS);
    let pool = pool.connection_customizer(Box::new(Settings));
    let pool = pool.build(r2d2::ConnectionManager::new(file));
    Kept::new(folder, pool.expect("a good file"))
}

#[derive(Debug)]
struct Settings;

impl r2d2::CustomizeConnection<SqliteConnection, r2d2::Error> for Settings {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), r2d2::Error> {
        connection
            .batch_execute(SETTINGS)
            .map_err(r2d2::Error::QueryError)
    }
}

/// A new file with the table, in a folder of its own.
fn database() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("app.db").display().to_string();
    let mut connection = SqliteConnection::establish(&file).expect("a new file");
    connection.batch_execute(SETTINGS).expect("known settings");
    connection.batch_execute(TABLE).expect("a new table");
    (folder, file)
}

/// What our pool sets for its readers, for all.
const SETTINGS: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -2000;
    PRAGMA mmap_size = 33554432;";

const TABLE: &str = "
    CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO items
        WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 10000)
        SELECT id, 'item ' || id FROM ids;";
