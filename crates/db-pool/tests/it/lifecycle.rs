//! Opening, ageing, status and closing.

use std::time::Duration;

use db_pool::{AcquireError, Connection, Pool, PoolConfig, Sqlite};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use crate::sqlite_support::{INSERT, abandon_a_statement, notes, sqlite, sqlite_with};
use crate::support::eventually;

#[tokio::test]
async fn status_counts_what_there_is() {
    let (_folder, pool) = sqlite().await;
    let opened = pool.status();
    assert_eq!(
        (opened.size, opened.idle, opened.in_use, opened.max_size),
        (1, 1, 0, 5)
    );
    let connection = pool.acquire().await.unwrap();
    let lanes = (pool.read().await.unwrap(), pool.read().await.unwrap());
    let busy = pool.status();
    assert_eq!(
        (busy.size, busy.idle, busy.in_use, busy.waiting),
        (3, 0, 3, 0)
    );
    assert_eq!(busy.acquired_total - opened.acquired_total, 3);
    let text = "main (sqlite): 3 of 5 open, 0 idle, 3 in use, 0 waiting; 4 acquired";
    assert_eq!(busy.to_string(), text);
    drop((connection, lanes));
    let back = pool.status();
    assert_eq!((back.size, back.idle, back.in_use), (3, 3, 0));
    let json = serde_json::to_value(&back).unwrap();
    assert_eq!(
        (&json["idle"], &json["backend"]),
        (&3.into(), &"sqlite".into())
    );
}

#[tokio::test]
async fn ping_measures_a_round_trip() {
    let (_folder, pool) = sqlite().await;
    assert!(pool.ping().await.unwrap() < Duration::from_secs(1));
    pool.close().await;
    assert!(pool.ping().await.unwrap_err().is_closed());
}

#[tokio::test]
async fn a_discarded_connection_is_replaced() {
    let (_folder, pool) = sqlite().await;
    let before = pool.status().connects_total;
    Connection::discard(pool.acquire().await.unwrap());
    assert_eq!(pool.status().size, 0);
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(pool.status().connects_total, before + 1);
}

#[tokio::test]
async fn a_connection_past_its_lifetime_is_replaced() {
    let (_folder, pool) = sqlite_with(|c| {
        c.max_lifetime = Some(Duration::from_millis(50));
        c.leak_after = None;
    })
    .await;
    let before = pool.status().connects_total;
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(51)).await;
    tokio::time::resume();
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert!(pool.status().connects_total > before);
    assert!(pool.status().size <= 2);
}

#[tokio::test]
async fn min_idle_readers_are_opened_ahead() {
    let (_folder, pool) = sqlite_with(|c| c.min_idle = 3).await;
    eventually("readers open", || pool.status().idle == 4).await;
}

#[tokio::test]
async fn close_turns_away_waiters_and_later_callers() {
    let (_folder, pool) = sqlite().await;
    let held = pool.acquire().await.unwrap();
    let mut waiter = Box::pin(pool.acquire());
    assert!(waiter.as_mut().now_or_never().is_none());
    let mut closing = Box::pin(pool.close());
    assert!(
        closing.as_mut().now_or_never().is_none(),
        "a connection is still out"
    );
    assert!(matches!(waiter.await, Err(AcquireError::Closed)));
    assert!(pool.acquire().await.unwrap_err().is_closed());
    assert!(pool.read().await.unwrap_err().is_closed());
    drop(held);
    assert_eq!(closing.await, 0);
    assert!(pool.status().closed && pool.status().to_string().ends_with("; closed"));
    assert_eq!(pool.status().size, 0);
    assert_eq!(pool.close().await, 0, "closing twice is fine");
}

#[tokio::test]
async fn a_caller_whose_connection_is_being_opened_learns_that_the_pool_closed() {
    let (_folder, pool) = sqlite().await;
    let mut opening = Box::pin(pool.read());
    assert!(opening.as_mut().now_or_never().is_none());
    let (opened, left) = tokio::join!(opening, pool.close());
    assert!(opened.is_err_and(|error| error.is_closed()));
    assert_eq!(left, 0);
}

#[tokio::test]
async fn close_leaves_a_single_file_behind() {
    let (folder, pool) = sqlite().await;
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    assert_eq!(notes(&pool).await, 1);
    assert_eq!(pool.close().await, 0);
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["app.db"], "the log is merged into the file");
}

#[tokio::test]
async fn close_is_bounded_when_a_borrower_never_returns() {
    let (_folder, pool) = sqlite_with(|c| c.close_timeout = Duration::from_millis(30)).await;
    let mut connection = pool.acquire().await.unwrap();
    let release = abandon_a_statement(&mut connection).await;
    assert_eq!(pool.close().await, 1);
    release.send(()).unwrap();
    drop(connection);
    // Each attempt is bounded too; the thread needs a moment to close the file.
    let mut open = usize::MAX;
    for _ in 0..100 {
        open = pool.close().await;
        if open == 0 {
            break;
        }
    }
    assert_eq!(open, 0);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_file() {
    let (folder, pool) = sqlite().await;
    drop(pool);
    let wal = folder.path().join("app.db-wal");
    eventually("the log is merged", || !wal.exists()).await;
    assert!(folder.path().join("app.db").exists());
}

#[tokio::test]
async fn data_survives_closing_and_opening_again() {
    let (folder, pool) = sqlite().await;
    sql_query(INSERT)
        .execute(&mut pool.acquire().await.unwrap())
        .await
        .unwrap();
    pool.close().await;
    let path = folder.path().join("app.db");
    let again = Pool::<Sqlite>::connect(PoolConfig::embedded(path.to_str().unwrap())).await;
    assert_eq!(notes(&again.unwrap()).await, 1);
}

#[test]
fn connecting_outside_of_a_runtime_is_an_error() {
    let connecting = Pool::<Sqlite>::connect(PoolConfig::embedded("app.db"));
    let error = connecting
        .now_or_never()
        .expect("answers at once")
        .unwrap_err();
    assert!(error.connect().is_some(), "{error}");
}
