//! SQLite pools on temporary files, and a statement that runs for as long as a test wants.

use std::sync::mpsc;

use db_pool::{Connection, Pool, PoolConfig, Sqlite, SqliteConnection};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::{Count, eventually};

/// A pool on a fresh file with a table `notes`; the folder lives as long as the first part.
pub(crate) async fn sqlite_with(change: impl FnOnce(&mut PoolConfig)) -> (TempDir, Pool<Sqlite>) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = PoolConfig::embedded(folder.path().join("app.db").to_str().unwrap());
    change(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let create = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
    let mut connection: Connection<Sqlite> = pool.acquire().await.unwrap();
    sql_query(create).execute(&mut connection).await.unwrap();
    drop(connection);
    (folder, pool)
}

pub(crate) async fn sqlite() -> (TempDir, Pool<Sqlite>) {
    sqlite_with(|_| {}).await
}

pub(crate) async fn notes(pool: &Pool<Sqlite>) -> i64 {
    let mut lane = pool.read().await.unwrap();
    let count: Count = sql_query("SELECT count(*) AS n FROM notes")
        .get_result(&mut lane)
        .await
        .unwrap();
    count.n
}

pub(crate) const INSERT: &str = "INSERT INTO notes (text) VALUES ('x')";

/// Begins a statement, drops its future in the middle, and returns what lets it end.
pub(crate) async fn abandon_a_statement(connection: &mut SqliteConnection) -> mpsc::SyncSender<()> {
    let (begin, mut begun) = oneshot::channel();
    let (release, released) = mpsc::sync_channel(1);
    let mut running = Box::pin(connection.with_sync(move |_| {
        let _ = begin.send(());
        let _ = released.recv();
        Ok(())
    }));
    eventually("the statement begins", || {
        assert!(running.as_mut().now_or_never().is_none());
        begun.try_recv().is_ok()
    })
    .await;
    release
}
