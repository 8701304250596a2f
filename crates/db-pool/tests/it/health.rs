//! Health: known without waiting, told with reasons, and a report that prints.

use db_pool::{DatabaseHealth, HealthState, Pool, Sqlite};
use diesel_async::SimpleAsyncConnection;

use crate::sqlite_support::{sqlite, sqlite_with};
use crate::support::eventually;

fn checked(pool: &Pool<Sqlite>) -> bool {
    pool.health().checked_ago.is_some()
}

#[tokio::test]
async fn health_is_up_at_once_and_checked_soon() {
    let (_folder, pool) = sqlite().await;
    let health = pool.health();
    assert_eq!(health.to_string(), "up (not asked yet)");
    eventually("checked", || checked(&pool)).await;
    assert_eq!(pool.health().state, HealthState::Up);
    assert!(pool.health().is_ready());
    pool.close().await;
    let health = pool.health();
    assert_eq!(health.to_string(), "down: the pool is closed (0 ms ago)");
    assert!(!health.is_ready());
}

#[tokio::test]
async fn a_pool_that_is_all_in_use_is_up_as_health_has_a_connection_of_its_own() {
    let (_folder, pool) = sqlite_with(|config| {
        config.max_size = 2;
        config.acquire_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    let writer = pool.acquire().await.unwrap();
    let reader = pool.read().await.unwrap();
    eventually("checked", || checked(&pool)).await;
    let health = pool.health();
    assert_eq!((health.state, health.reasons.len()), (HealthState::Up, 0));
    assert!(health.is_ready());
    drop((writer, reader));
}

#[tokio::test]
async fn the_task_that_asks_ends_with_the_pool() {
    let (_folder, pool) = sqlite().await;
    pool.health();
    eventually("checked", || checked(&pool)).await;
    pool.close().await;
    let tasks = tokio::runtime::Handle::current().metrics();
    // The clock stands still: it does not wait for its next tick.
    tokio::time::pause();
    eventually("all tasks of the pool have ended", || {
        tasks.num_alive_tasks() == 0
    })
    .await;
}

#[tokio::test]
async fn the_task_that_asks_does_not_keep_the_pool_alive() {
    let (_folder, pool) = sqlite().await;
    pool.health();
    eventually("checked", || checked(&pool)).await;
    let path = pool.config().file().unwrap().unwrap();
    let log = path.with_extension("db-wal");
    assert!(log.exists());
    drop(pool);
    // The last connection that closes removes it.
    eventually("the file is closed", || !log.exists()).await;
}

#[tokio::test]
async fn the_report_on_a_file_tells_its_log_and_free_pages() {
    let (_folder, pool) = sqlite().await;
    let fill = "INSERT INTO notes (text) VALUES (hex(randomblob(50000))); DELETE FROM notes";
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(fill)
        .await
        .unwrap();
    let report = pool.health_report().await;
    assert!(
        report.trouble.is_none() && report.ping.is_some(),
        "{report}"
    );
    let Some(DatabaseHealth::Sqlite(file)) = &report.database else {
        panic!("{report}")
    };
    assert_eq!(file.journal_mode, "wal");
    assert!(
        file.free_pages > 10 && file.pages > file.free_pages,
        "{report}"
    );
    assert!(file.log_bytes > 100_000, "{report}");
    assert!(report.to_string().contains("pages free"), "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["database"]["sqlite"]["journal_mode"], "wal");
    assert_eq!(pool.quick_check().await.unwrap(), [""; 0]);
    pool.close().await;
    let report = pool.health_report().await;
    assert_eq!(report.trouble.as_deref(), Some("the pool is closed"));
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_report_on_a_server_tells_sessions_and_what_is_left() {
    use crate::postgres_support::Database;

    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|config| config.name = "healthy".to_owned())
        .await;
    let mut idle = pool.acquire().await.unwrap();
    idle.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let report = pool.health_report().await;
    let Some(DatabaseHealth::Postgres(server)) = &report.database else {
        panic!("{report}")
    };
    let state = |name: &str| server.sessions.iter().find(|found| found.state == name);
    let open = state("idle in transaction").unwrap();
    assert_eq!(open.count, 1, "{report}");
    assert!(open.oldest_transaction.is_some(), "{report}");
    assert!(server.connections_used < server.connections_max, "{report}");
    assert!(!server.standby && server.replay_lag.is_none(), "{report}");
    assert!(
        report.to_string().contains("1 idle in transaction"),
        "{report}"
    );
    drop(idle);
    pool.close().await;
}
