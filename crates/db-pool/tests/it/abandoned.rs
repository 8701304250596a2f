//! Borrowers that vanish in the middle: nothing blocks, nothing panics, the next borrower finds a clean connection.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::sql_query;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;

use crate::sqlite_support::{INSERT, abandon_a_statement, notes, sqlite, sqlite_with};
use crate::support::eventually;

/// On the default, current-thread runtime: a drop that waited for the statement would wait for ever.
#[tokio::test]
async fn dropping_a_statement_does_not_block_a_current_thread_runtime() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    let release = abandon_a_statement(&mut connection).await;
    drop(connection);
    eventually("repair begins", || pool.status().recovering == 1).await;
    assert!(
        pool.acquire().now_or_never().is_none(),
        "still being repaired"
    );
    release.send(()).unwrap();
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    let status = pool.status();
    assert_eq!(
        (status.recovered_total, status.discarded_total),
        (1, 0),
        "{status}"
    );
    assert_eq!(notes(&pool).await, 1);
}

#[tokio::test]
async fn the_same_borrower_goes_on_behind_its_own_abandoned_statement() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    let release = abandon_a_statement(&mut connection).await;
    let mut next = Box::pin(sql_query(INSERT).execute(&mut connection));
    assert!(next.as_mut().now_or_never().is_none());
    release.send(()).unwrap();
    assert_eq!(next.await, Ok(1));
    drop(connection);
    assert_eq!(pool.status().recovering, 0);
}

#[tokio::test]
async fn a_statement_that_never_ends_costs_one_connection_after_recovery_timeout() {
    let (_folder, pool) = sqlite_with(|c| c.recovery_timeout = Duration::from_millis(20)).await;
    let mut connection = pool.acquire().await.unwrap();
    let release = abandon_a_statement(&mut connection).await;
    drop(connection);
    eventually("given up", || pool.status().discarded_total == 1).await;
    // A new writer takes its place, although the old thread is still busy.
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(notes(&pool).await, 1);
    release.send(()).unwrap();
}

#[tokio::test]
async fn a_transaction_dropped_in_the_middle_is_rolled_back() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    {
        let mut transaction = Box::pin(connection.transaction(async |connection| {
            sql_query(INSERT).execute(connection).await?;
            std::future::pending::<()>().await;
            Ok::<_, diesel::result::Error>(())
        }));
        let patience = Duration::from_millis(200);
        assert!(
            tokio::time::timeout(patience, &mut transaction)
                .await
                .is_err()
        );
    }
    drop(connection);
    let mut next = pool.acquire().await.unwrap();
    next.transaction(async |connection| sql_query(INSERT).execute(connection).await)
        .await
        .unwrap();
    drop(next);
    assert_eq!(notes(&pool).await, 1, "only the second transaction's row");
    assert_eq!(pool.status().recovered_total, 1);
}

#[tokio::test]
async fn a_transaction_dropped_at_any_await_never_reaches_the_next_borrower() {
    let (_folder, pool) = sqlite().await;
    for polls in 0..30 {
        let mut connection = pool.acquire().await.unwrap();
        {
            let mut transaction = Box::pin(connection.transaction(async |connection| {
                sql_query(INSERT).execute(connection).await?;
                sql_query("DELETE FROM notes").execute(connection).await
            }));
            for _ in 0..polls {
                if transaction.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        drop(connection);
        let mut next = pool.acquire().await.unwrap();
        // Fails inside an open transaction.
        next.batch_execute("BEGIN IMMEDIATE; ROLLBACK")
            .await
            .unwrap();
        drop(next);
        assert_eq!(notes(&pool).await, 0, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_transaction_opened_by_hand_is_rolled_back_too() {
    let (_folder, pool) = sqlite().await;
    for begin in ["BEGIN", "begin immediate", "SAVEPOINT mine"] {
        let mut connection = pool.acquire().await.unwrap();
        connection.batch_execute(begin).await.unwrap();
        sql_query(INSERT).execute(&mut connection).await.unwrap();
        drop(connection);
        let mut connection = pool.acquire().await.unwrap();
        sql_query(begin).execute(&mut connection).await.unwrap();
        sql_query(INSERT).execute(&mut connection).await.unwrap();
        drop(connection);
        assert_eq!(
            pool.acquire().await.map(drop).map_err(|e| e.to_string()),
            Ok(())
        );
        assert_eq!(notes(&pool).await, 0, "{begin}");
    }
    assert_eq!(pool.status().recovered_total, 6);
}

#[tokio::test]
async fn a_transaction_left_open_by_with_sync_is_rolled_back() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    connection
        .with_sync(|connection| connection.batch_execute("BEGIN"))
        .await
        .unwrap();
    drop(connection);
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        notes(&pool).await,
        1,
        "committed, and not part of the first"
    );
    assert_eq!(pool.status().recovered_total, 1);
}

#[tokio::test]
async fn with_sync_may_open_work_in_and_end_a_transaction() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    for sql in ["BEGIN", INSERT, "COMMIT"] {
        let work = move |connection: &mut diesel::SqliteConnection| connection.batch_execute(sql);
        connection.with_sync(work).await.unwrap();
    }
    drop(connection);
    assert_eq!(notes(&pool).await, 1);
    assert_eq!(pool.status().recovered_total, 0, "nothing to repair");
}

#[tokio::test]
async fn a_panic_inside_a_statement_costs_the_connection_only() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    let result = connection
        .with_sync(|_| -> diesel::QueryResult<()> { panic!("on purpose") })
        .await;
    assert!(result.is_err());
    drop(connection);
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(notes(&pool).await, 1);
    assert_eq!(pool.status().in_use, 0);
}

#[tokio::test]
async fn a_guard_may_be_dropped_outside_of_the_runtime() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute("BEGIN").await.unwrap();
    let clean = pool.read().await.unwrap();
    std::thread::spawn(move || {
        drop(connection);
        drop(clean);
    })
    .join()
    .unwrap();
    assert!(pool.acquire().await.is_ok());
    assert_eq!(pool.status().recovered_total, 1);
}

#[test]
fn a_runtime_may_stop_while_connections_are_out() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (folder, pool, connection) = runtime.block_on(async {
        let (folder, pool) = sqlite().await;
        let mut connection = pool.acquire().await.unwrap();
        connection.batch_execute("BEGIN").await.unwrap();
        (folder, pool, connection)
    });
    drop(runtime);
    drop(connection);
    assert_eq!(pool.status().in_use, 0);
    drop((pool, folder));
}
