//! Two pools on one file stand for two processes: they share a bus, a store, or both.

use std::sync::Arc;
use std::time::Duration;

use db_pool::{
    MemoryBus, MemoryResultStore, Pool, PoolConfig, QueryCacheConfig, ResultStore, Sqlite,
    StoreError,
};
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::notes;
use crate::sqlite_support::{INSERT, sqlite};
use crate::support::eventually;

/// Two pools whose caches are configured alike.
async fn two(config: QueryCacheConfig) -> (TempDir, Pool<Sqlite>, Pool<Sqlite>) {
    let (folder, one) = sqlite().await;
    let other = Pool::connect(PoolConfig::embedded(&one.config().url))
        .await
        .unwrap();
    for pool in [&one, &other] {
        pool.configure_query_cache(config.clone()).unwrap();
    }
    (folder, one, other)
}

async fn insert(pool: &Pool<Sqlite>) {
    let mut connection = pool.acquire().await.unwrap();
    sql_query(INSERT).execute(&mut connection).await.unwrap();
}

async fn counted(pool: &Pool<Sqlite>) -> i64 {
    pool.cached(notes::table.count()).first().await.unwrap()
}

/// Reads until a read is answered from the cache.
async fn warm(pool: &Pool<Sqlite>) {
    let before = pool.query_cache().stats().hits;
    while pool.query_cache().stats().hits == before {
        counted(pool).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_write_of_another_process_arrives_by_the_bus() {
    let bus = Arc::new(MemoryBus::new());
    let config = QueryCacheConfig {
        bus: Some(bus),
        ..QueryCacheConfig::default()
    };
    let (_folder, one, other) = two(config).await;
    warm(&one).await;
    warm(&other).await;
    insert(&other).await;
    assert_eq!(counted(&other).await, 1, "at once where it was written");
    while counted(&one).await != 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_its_bus_nothing_is_read_from_the_cache() {
    let bus = Arc::new(MemoryBus::new());
    let config = QueryCacheConfig {
        bus: Some(Arc::clone(&bus) as Arc<_>),
        ..QueryCacheConfig::default()
    };
    let (_folder, one, other) = two(config).await;
    warm(&one).await;
    bus.cut();
    eventually("the loss is seen", || {
        one.query_cache().stats().bus_losses == 1
    })
    .await;
    insert(&other).await;
    assert_eq!(counted(&one).await, 1, "not from the cache");
    assert!(one.query_cache().stats().bypasses > 0);
    bus.mend();
    warm(&one).await;
    assert_eq!(counted(&one).await, 1);
}

#[tokio::test]
async fn a_shared_result_spares_the_second_process_its_query() {
    let config = QueryCacheConfig {
        store: Some(Arc::new(MemoryResultStore::new(100))),
        ..QueryCacheConfig::default()
    };
    let (_folder, one, other) = two(config).await;
    assert_eq!((counted(&one).await, counted(&other).await), (0, 0));
    let stats = other.query_cache().stats();
    assert_eq!((stats.hits, stats.misses), (1, 0));
    // What the second process writes makes the shared result worthless to it, clocks being what they are.
    insert(&other).await;
    assert_eq!(counted(&other).await, 1);
    assert_eq!(other.query_cache().stats().misses, 1);
}

/// Keeps what is put back until the test lets it go.
struct SlowStore {
    inner: MemoryResultStore,
    put: tokio::sync::Semaphore,
    gate: tokio::sync::Semaphore,
}

impl ResultStore for SlowStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.inner.get(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a [u8],
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.put.add_permits(1);
            self.gate.acquire().await.unwrap().forget();
            self.inner.put(key, value, ttl).await
        })
    }
}

#[tokio::test]
async fn a_result_put_after_a_write_of_another_process_is_not_believed_by_that_process() {
    let store = Arc::new(SlowStore {
        inner: MemoryResultStore::new(100),
        put: tokio::sync::Semaphore::new(0),
        gate: tokio::sync::Semaphore::new(0),
    });
    let config = QueryCacheConfig {
        store: Some(Arc::clone(&store) as Arc<_>),
        store_timeout: Duration::from_secs(60),
        ..QueryCacheConfig::default()
    };
    let (_folder, one, other) = two(config).await;
    let reading = one.clone();
    let reading = tokio::spawn(async move { counted(&reading).await });
    store.put.acquire().await.unwrap().forget();
    insert(&other).await;
    store.gate.add_permits(100);
    assert_eq!(reading.await.unwrap(), 0, "read before the write");
    for pool in [&other, &other] {
        assert_eq!(counted(pool).await, 1, "never older than its own write");
    }
    assert_eq!(other.query_cache().stats().misses, 1);
}

#[tokio::test]
async fn with_a_bus_a_result_put_after_a_write_is_believed_by_nobody() {
    let store = Arc::new(SlowStore {
        inner: MemoryResultStore::new(100),
        put: tokio::sync::Semaphore::new(0),
        gate: tokio::sync::Semaphore::new(0),
    });
    let config = QueryCacheConfig {
        store: Some(Arc::clone(&store) as Arc<_>),
        store_timeout: Duration::from_secs(60),
        bus: Some(Arc::new(MemoryBus::new())),
        clock_skew: Duration::ZERO,
        ..QueryCacheConfig::default()
    };
    let (_folder, one, other) = two(config).await;
    let reading = one.clone();
    // Bypasses until the bus is heard, then waits in the store.
    let reading = tokio::spawn(async move {
        loop {
            let bypasses = reading.query_cache().stats().bypasses;
            let count = counted(&reading).await;
            if reading.query_cache().stats().bypasses == bypasses {
                return count;
            }
            tokio::task::yield_now().await;
        }
    });
    store.put.acquire().await.unwrap().forget();
    let heard = one.query_cache().stats().invalidations;
    insert(&other).await;
    eventually("the write is told", || {
        one.query_cache().stats().invalidations > heard
    })
    .await;
    store.gate.add_permits(100);
    assert_eq!(reading.await.unwrap(), 0, "read before the write");
    assert_eq!(counted(&one).await, 1);
    assert_eq!(counted(&other).await, 1);
    assert_eq!(one.query_cache().stats().stale_puts, 1);
}

/// Fails at once, or never answers.
struct BadStore(bool);

impl ResultStore for BadStore {
    fn get<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        if self.0 {
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(Err("down".into())))
    }

    fn put<'a>(
        &'a self,
        _: &'a [u8],
        _: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(std::future::ready(Err("down".into())))
    }
}

#[tokio::test]
async fn a_store_that_fails_or_hangs_costs_no_more_than_its_time_out() {
    for hangs in [false, true] {
        let config = QueryCacheConfig {
            store: Some(Arc::new(BadStore(hangs))),
            store_timeout: Duration::from_millis(5),
            ..QueryCacheConfig::default()
        };
        let (_folder, one, _other) = two(config).await;
        assert_eq!((counted(&one).await, counted(&one).await), (0, 0));
        let stats = one.query_cache().stats();
        assert_eq!((stats.hits, stats.misses, stats.store_failures), (1, 1, 2));
    }
}
