//! `Pool::transaction`: commits, rolls back on errors, panics and cancelling, and its future can be spawned.

use std::time::Duration;

use db_pool::{AcquireError, Isolation, TransactionOptions};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use crate::sqlite_support::{INSERT, notes, sqlite};
use crate::support::{Count, eventually};

#[derive(Debug)]
enum Failure {
    Acquire(AcquireError),
    Database(diesel::result::Error),
    Refused,
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        Self::Acquire(error)
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error)
    }
}

#[tokio::test]
async fn ok_commits_and_err_rolls_back() {
    let (_folder, pool) = sqlite().await;
    let options = TransactionOptions::default();
    let rows = pool
        .transaction(options, async |connection| {
            let rows = sql_query(INSERT).execute(connection).await?;
            Ok::<_, Failure>(rows)
        })
        .await;
    assert!(matches!(rows, Ok(1)));
    let refused = pool
        .transaction(options, async |connection| {
            sql_query(INSERT).execute(connection).await?;
            Err::<(), _>(Failure::Refused)
        })
        .await;
    assert!(matches!(refused, Err(Failure::Refused)), "{refused:?}");
    let broken = pool
        .transaction(options, async |connection| {
            sql_query(INSERT).execute(connection).await?;
            Ok::<_, Failure>(sql_query("SELECT nonsense").execute(connection).await?)
        })
        .await;
    let Err(Failure::Database(error)) = broken else {
        panic!("{broken:?}")
    };
    assert!(error.to_string().contains("nonsense"), "{error}");
    assert_eq!(notes(&pool).await, 1);
    assert_eq!(pool.status().recovered_total, 0, "both ended properly");
}

#[tokio::test]
async fn the_future_is_send_and_borrows_what_it_needs() {
    let (_folder, pool) = sqlite().await;
    let task = tokio::spawn(async move {
        let text = String::from("borrowed");
        let borrowed = &text;
        let inserted = pool
            .transaction(TransactionOptions::serializable(), async |connection| {
                let sql = format!("INSERT INTO notes (text) VALUES ('{borrowed}')");
                sql_query(sql).execute(connection).await
            })
            .await;
        (inserted, notes(&pool).await)
    });
    assert_eq!(task.await.unwrap(), (Ok(1), 1));
}

#[tokio::test]
async fn a_panic_in_the_closure_rolls_back() {
    let (_folder, pool) = sqlite().await;
    let panicking = pool.clone();
    let task = tokio::spawn(async move {
        panicking
            .transaction(TransactionOptions::default(), async |connection| {
                sql_query(INSERT).execute(connection).await?;
                if notes(&panicking).await == 0 {
                    panic!("on purpose");
                }
                Ok::<_, diesel::result::Error>(())
            })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    eventually("repaired", || pool.status().recovered_total == 1).await;
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn dropping_the_future_rolls_back() {
    let (_folder, pool) = sqlite().await;
    let transaction = pool.transaction(TransactionOptions::default(), async |connection| {
        sql_query(INSERT).execute(connection).await?;
        std::future::pending::<()>().await;
        Ok::<_, diesel::result::Error>(())
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(200), transaction)
            .await
            .is_err()
    );
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn a_read_only_transaction_reads_one_snapshot_beside_the_writer() {
    let (_folder, pool) = sqlite().await;
    let counts = pool
        .transaction(TransactionOptions::read_only(), async |connection| {
            let count = "SELECT count(*) AS n FROM notes";
            let before: Count = sql_query(count).get_result(connection).await?;
            let mut writer = pool.acquire().await?;
            sql_query(INSERT).execute(&mut writer).await?;
            let after: Count = sql_query(count).get_result(connection).await?;
            let write = sql_query(INSERT).execute(connection).await;
            assert!(write.unwrap_err().to_string().contains("readonly"));
            Ok::<_, diesel::result::Error>((before.n, after.n))
        })
        .await;
    assert_eq!(counts, Ok((0, 0)));
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn a_failed_acquire_reaches_the_error_type_of_the_caller() {
    let (_folder, pool) = sqlite().await;
    pool.close().await;
    let options = TransactionOptions {
        isolation: Some(Isolation::ReadCommitted),
        ..Default::default()
    };
    let result = pool
        .transaction(options, async |_| Ok::<_, Failure>(()))
        .await;
    assert!(
        matches!(result, Err(Failure::Acquire(AcquireError::Closed))),
        "{result:?}"
    );
    let result = pool
        .transaction(options, async |_| Ok::<_, diesel::result::Error>(()))
        .await;
    assert_eq!(result.unwrap_err().to_string(), "the pool is closed");
}

#[tokio::test]
async fn nothing_runs_before_the_first_poll() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    drop(sql_query(INSERT).execute(&mut connection));
    drop(connection);
    assert_eq!(notes(&pool).await, 0);
    assert!(
        pool.acquire()
            .now_or_never()
            .is_some_and(|acquired| acquired.is_ok())
    );
    assert_eq!(pool.status().recovered_total, 0);
}
