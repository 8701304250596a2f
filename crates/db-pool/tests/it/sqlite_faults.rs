//! What happens to SQLite files: full, busy, locked, damaged, and a log that a long reader keeps from shrinking.

use std::time::Duration;

use db_pool::{ConnectErrorKind, ErrorClass, Pool, PoolConfig, Sqlite, TransactionOptions};
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::sync::Barrier;

use crate::hooks_support::{Noting, Told};
use crate::sqlite_support::{INSERT, notes, sqlite, sqlite_with};
use crate::support::Count;

const LARGE: &str = "INSERT INTO notes (text) VALUES (hex(randomblob(50000)))";

/// A connection that the pool does not know of, as another process has one.
fn other_process(pool: &Pool<Sqlite>) -> diesel::SqliteConnection {
    let path = pool.config().file().unwrap().unwrap();
    diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_full_disk_fails_the_transaction_and_nothing_else() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    connection
        .batch_execute("PRAGMA max_page_count = 20")
        .await
        .unwrap();
    drop(connection);
    let told = Told::default();
    let error = pool
        .transaction(TransactionOptions::default(), async |tx| {
            tx.enlist(Noting::new(&told));
            sql_query(INSERT).execute(tx).await?;
            sql_query(LARGE).execute(tx).await
        })
        .await
        .unwrap_err();
    assert_eq!(ErrorClass::of(&error), ErrorClass::DiskFull, "{error}");
    assert_eq!(told.all(), ["rolled back"], "and not run again");
    assert_eq!(notes(&pool).await, 0);
    pool.transaction(TransactionOptions::default(), async |tx| {
        sql_query(INSERT).execute(tx).await
    })
    .await
    .unwrap();
    assert_eq!(notes(&pool).await, 1, "what fits is still stored");
    assert_eq!(pool.status().in_use, 0);
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_busy_and_the_transaction_runs_again() {
    let (_folder, pool) = sqlite_with(|c| c.lock_timeout = None).await;
    let mut other = other_process(&pool);
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let told = Told::default();
    let noting = told.clone();
    let busy = pool
        .transaction(
            TransactionOptions {
                max_attempts: 2,
                ..Default::default()
            },
            async move |tx| {
                noting.note("run");
                sql_query(INSERT).execute(tx).await
            },
        )
        .await
        .unwrap_err();
    assert_eq!(ErrorClass::of(&busy), ErrorClass::Busy, "{busy}");
    assert_eq!(told.all(), [""; 0], "it never got as far as the closure");
    let again = pool.transaction(TransactionOptions::default(), async |tx| {
        sql_query(INSERT).execute(tx).await
    });
    let release = async {
        tokio::task::yield_now().await;
        other.batch_execute("COMMIT").unwrap();
    };
    let (again, ()) = tokio::join!(again, release);
    assert_eq!(again, Ok(1));
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_reads_to_one_write_beside_another_writing_process_show_no_busy_error() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 30;
    let (_folder, pool) = sqlite().await;
    let mut other = other_process(&pool);
    other.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    let storm = std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            other.batch_execute(INSERT).unwrap();
        }
    });
    let begin = std::sync::Arc::new(Barrier::new(TASKS));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (pool, begin) = (pool.clone(), std::sync::Arc::clone(&begin));
            tokio::spawn(async move {
                begin.wait().await;
                let mut written = 0;
                for round in 0..ROUNDS {
                    if (task + round) % 10 == 0 {
                        written += pool
                            .transaction(TransactionOptions::default(), async |tx| {
                                sql_query(INSERT).execute(tx).await
                            })
                            .await?;
                    } else {
                        let mut lane = pool.read().await?;
                        let count = sql_query("SELECT count(*) AS n FROM notes");
                        count.get_result::<Count>(&mut lane).await?;
                    }
                }
                Ok::<_, Error>(written)
            })
        })
        .collect();
    let mut written = ROUNDS;
    for task in tasks {
        written += task.await.unwrap().unwrap();
    }
    storm.join().unwrap();
    assert_eq!(notes(&pool).await, written as i64);
    assert_eq!(pool.status().discarded_total, 0);
}

#[tokio::test]
async fn a_log_that_a_long_reader_kept_growing_is_merged_and_reused_afterwards() {
    let (_folder, pool) = sqlite().await;
    let log = pool
        .config()
        .file()
        .unwrap()
        .unwrap()
        .with_extension("db-wal");
    let length = || std::fs::metadata(&log).unwrap().len();
    let options = TransactionOptions::read_only();
    let write = async |rounds: usize| {
        for _ in 0..rounds {
            let mut writer = pool.acquire().await?;
            sql_query("UPDATE notes SET text = hex(randomblob(50000))")
                .execute(&mut writer)
                .await?;
        }
        Ok::<_, Error>(())
    };
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    pool.transaction(options, async |tx| {
        let count = sql_query("SELECT count(*) AS n FROM notes");
        count.get_result::<Count>(tx).await?;
        // Nothing that this reader may still need is overwritten.
        write(120).await
    })
    .await
    .unwrap();
    let grown = length();
    assert!(grown > 10_000_000, "{grown}");
    write(120).await.unwrap();
    // Written anew from its start; twice as long otherwise.
    assert!(length() < grown + grown / 2, "{} after {grown}", length());
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn a_damaged_file_is_told_as_such_when_it_is_read_and_when_it_is_opened() {
    let (folder, pool) = sqlite().await;
    for _ in 0..3 {
        sql_query(LARGE)
            .execute(&mut pool.acquire().await.unwrap())
            .await
            .unwrap();
    }
    let config = pool.config().clone();
    assert_eq!(pool.close().await, 0);
    let path = config.file().unwrap().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let pool = Pool::<Sqlite>::connect(config.clone()).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let error = sql_query("SELECT sum(length(text)) AS n FROM notes")
        .get_result::<Count>(&mut connection)
        .await
        .unwrap_err();
    assert_eq!(ErrorClass::of(&error), ErrorClass::Corrupt, "{error}");
    drop(connection);
    assert_eq!(pool.close().await, 0);
    bytes.fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let error = Pool::<Sqlite>::connect(config).await.unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    drop(folder);
}

#[tokio::test]
async fn a_file_that_another_process_keeps_for_itself_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let mut other = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other
        .batch_execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE t (a)")
        .unwrap();
    let mut config = PoolConfig::embedded(path.to_str().unwrap());
    config.lock_timeout = Some(Duration::from_millis(20));
    let error = Pool::<Sqlite>::connect(config.clone()).await.unwrap_err();
    let kind = error.connect().unwrap().kind();
    assert_eq!(kind, ConnectErrorKind::Locked, "{error:?}");
    drop(other);
    let pool = Pool::<Sqlite>::connect(config).await.unwrap();
    assert_eq!(pool.close().await, 0);
}
