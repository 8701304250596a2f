//! A network that is slow or silent for a while: what waits has an end, and connections that live are kept.

use std::time::Duration;

use db_pool::{AcquireError, Pool, PoolConfig, Postgres};
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::postgres_support::Database;
use crate::proxy::Proxy;
use crate::support::{Count, eventually};

/// Longer than any limit below; what takes longer hangs.
const SOON: Duration = Duration::from_secs(30);

async fn one(pool: &Pool<Postgres>) {
    let mut connection = pool.acquire().await.unwrap();
    let query = sql_query("SELECT 1::bigint AS n");
    assert_eq!(
        query.get_result::<Count>(&mut connection).await.unwrap().n,
        1
    );
}

/// A pool behind a proxy that asks each connection before it lends it, with `idle` of them.
async fn behind_a_proxy(
    database: &Database,
    idle: usize,
    change: impl FnOnce(&mut PoolConfig),
) -> (Proxy, Pool<Postgres>) {
    let proxy = Proxy::before(&database.url).await;
    let url = proxy.url(&database.url);
    let pool = database
        .pool_at(&url, |config| {
            (config.lanes, config.validate_after_idle) = (0, Duration::ZERO);
            change(config);
        })
        .await;
    drop(join_all((0..idle).map(|_| pool.acquire())).await);
    (proxy, pool)
}

#[tokio::test]
async fn a_spike_of_latency_costs_time_and_no_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, 4, |c| {
        (c.validation_timeout, c.acquire_timeout) = (SOON, SOON);
    })
    .await;
    let before = pool.status();
    proxy.delay(Duration::from_millis(100));
    join_all((0..12).map(|_| one(&pool))).await;
    proxy.forward();
    join_all((0..12).map(|_| one(&pool))).await;
    let after = pool.status();
    assert_eq!((after.size, after.timeouts_total), (4, 0), "{after}");
    assert_eq!(after.connects_total, before.connects_total, "{after}");
    assert_eq!(proxy.connections(), 4);
}

#[tokio::test]
async fn a_ping_into_a_black_hole_ends_by_its_limits() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, 2, |c| {
        c.validation_timeout = Duration::from_millis(50);
        c.acquire_timeout = Duration::from_millis(500);
        c.connect_timeout = Duration::from_secs(2);
        c.validate_after_idle = Duration::from_secs(600);
    })
    .await;
    proxy.black_hole();
    // The idle ones count as fresh: it is the ping itself that gets no answer.
    let ping = timeout(SOON, pool.ping()).await.expect("ended");
    assert!(
        matches!(ping, Err(AcquireError::PingFailed { source: None })),
        "{ping:?}"
    );
    // With all lent the check opens one of its own, which hangs as well.
    let held = (pool.acquire().await, pool.acquire().await);
    let ping = timeout(SOON, pool.ping()).await.expect("ended");
    assert!(ping.is_err_and(|error| error.is_timeout()));
    drop(held);
    proxy.forward();
    let answered = timeout(SOON, async { while pool.ping().await.is_err() {} });
    assert!(answered.await.is_ok());
}

#[tokio::test]
async fn one_silent_connection_has_all_idle_ones_asked_at_once_and_the_living_are_kept() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, 0, |c| {
        c.validation_timeout = Duration::from_secs(2);
    })
    .await;
    let dead = join_all((0..2).map(|_| pool.acquire())).await;
    proxy.black_hole_open();
    let alive = join_all((0..2).map(|_| pool.acquire())).await;
    let connects = pool.status().connects_total;
    assert_eq!(connects, 4);
    // Those that are given back last are taken first.
    drop(alive);
    drop(dead);
    one(&pool).await;
    eventually("both dead ones are closed, nobody asking for them", || {
        let status = pool.status();
        let left = status.connects_total - 2;
        status.size as u64 == left && status.idle == status.size && status.connecting == 0
    })
    .await;
    let before = pool.status().connects_total;
    join_all((0..pool.status().idle).map(|_| one(&pool))).await;
    assert_eq!(pool.status().connects_total, before, "all of them live");
}

#[tokio::test]
async fn dropping_the_last_handle_closes_idle_connections_while_another_is_lent() {
    let Some(database) = Database::new().await else {
        return;
    };
    let (proxy, pool) = behind_a_proxy(&database, 4, |_| {}).await;
    let held = pool.acquire().await.unwrap();
    assert_eq!(proxy.open(), 4);
    drop(pool);
    eventually("only the lent one is open", || proxy.open() == 1).await;
    drop(held);
    eventually("that one is closed as well", || proxy.open() == 0).await;
}
