//! Pools on temporary databases, and waiting for a condition without sleeping.

use std::time::Duration;

use db_pool::{Pool, PoolConfig};
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

/// Yields until `done`, for at most ten seconds of real time.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::SystemTime::now();
    while !done() {
        let waited = started.elapsed().unwrap_or_default();
        assert!(waited < Duration::from_secs(10), "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// The whole chain of an error as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[derive(QueryableByName, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    #[diesel(sql_type = BigInt)]
    pub(crate) n: i64,
}

#[derive(QueryableByName, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    #[diesel(sql_type = Text)]
    pub(crate) word: String,
}

#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::*;

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::sync::mpsc;

    use db_pool::{Connection, Sqlite};
    use futures_util::FutureExt;
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;

    /// A pool on a fresh file with a table `notes`; the folder lives as long as the first part.
    pub(crate) async fn sqlite_with(
        change: impl FnOnce(&mut PoolConfig),
    ) -> (TempDir, Pool<Sqlite>) {
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
    pub(crate) async fn abandon_a_statement(
        connection: &mut Connection<Sqlite>,
    ) -> mpsc::SyncSender<()> {
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
}
