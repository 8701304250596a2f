//! How long a result is good, and who asks for a fresh one. A second pool on the same file writes behind the back of
//! the first, which therefore shows whether it has asked the database.

use std::time::Duration;

use db_pool::{CacheError, Pool, PoolConfig, QueryCacheConfig, Sqlite};
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::notes;
use crate::sqlite_support::{INSERT, sqlite};
use crate::support::eventually;

async fn behind_the_back(pool: &Pool<Sqlite>) -> Pool<Sqlite> {
    Pool::connect(PoolConfig::embedded(&pool.config().url))
        .await
        .unwrap()
}

async fn insert(pool: &Pool<Sqlite>) {
    let mut connection = pool.acquire().await.unwrap();
    sql_query(INSERT).execute(&mut connection).await.unwrap();
}

/// Moves tokio's clock while nothing else waits for it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_result_lives_as_long_as_its_ttl_give_or_take_a_tenth() {
    let (_folder, pool) = sqlite().await;
    let other = behind_the_back(&pool).await;
    let read = || pool.cached(notes::table.count()).ttl("10m").first::<i64>();
    assert_eq!(read().await.unwrap(), 0);
    insert(&other).await;
    pass(MINUTE * 8).await;
    assert_eq!(read().await.unwrap(), 0);
    pass(MINUTE * 4).await;
    assert_eq!(read().await.unwrap(), 1);
}

#[tokio::test]
async fn a_ttl_that_is_no_duration_is_an_error_of_the_load() {
    let (_folder, pool) = sqlite().await;
    let read = pool.cached(notes::table.count()).ttl("5 parsecs").ttl("5m");
    let error = read.first::<i64>().await.unwrap_err();
    assert!(matches!(&error, CacheError::Duration { text, .. } if text == "5 parsecs"));
    let nothing = notes::table.find(1).select(notes::text);
    let error = pool.cached(nothing).first::<String>().await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn an_empty_result_has_a_ttl_of_its_own() {
    let (_folder, pool) = sqlite().await;
    let other = behind_the_back(&pool).await;
    let read = || {
        let query = notes::table.find(1).select(notes::text);
        pool.cached(query)
            .ttl("1h")
            .negative("1m")
            .optional::<String>()
    };
    assert_eq!(read().await.unwrap(), None);
    insert(&other).await;
    assert_eq!(read().await.unwrap(), None);
    pass(MINUTE * 2).await;
    assert_eq!(read().await.unwrap().as_deref(), Some("x"));
    pass(MINUTE * 30).await;
    read().await.unwrap();
    let stats = pool.query_cache().stats();
    assert_eq!((stats.hits, stats.misses), (2, 2));
}

#[tokio::test]
async fn an_outdated_result_is_given_while_a_fresh_one_is_fetched() {
    let (_folder, pool) = sqlite().await;
    let other = behind_the_back(&pool).await;
    let read = || {
        let query = pool.cached(notes::table.count()).ttl("1m").swr("1h");
        query.first::<i64>()
    };
    assert_eq!(read().await.unwrap(), 0);
    insert(&other).await;
    pass(MINUTE * 2).await;
    assert_eq!(read().await.unwrap(), 0);
    eventually("it is refreshed", || pool.query_cache().stats().misses == 2).await;
    eventually("and kept", || {
        read().now_or_never().is_some_and(|read| read.unwrap() == 1)
    })
    .await;
    insert(&pool).await;
    assert_eq!(read().await.unwrap(), 2, "never older than a write");
    insert(&other).await;
    pass(MINUTE * 90).await;
    assert_eq!(read().await.unwrap(), 3, "too old");
}

#[tokio::test]
async fn of_many_that_miss_one_asks_and_if_it_goes_away_another_does() {
    let (_folder, pool) = sqlite().await;
    let read = || pool.cached(notes::table.count()).first::<i64>();
    let mut leader = Box::pin(read());
    assert!(leader.as_mut().now_or_never().is_none());
    let mut others = Box::pin(join_all((0..50).map(|_| read())));
    assert!(others.as_mut().now_or_never().is_none());
    drop(leader);
    let counts: Result<Vec<i64>, _> = others.await.into_iter().collect();
    assert_eq!(counts.unwrap(), [0; 50]);
    let stats = pool.query_cache().stats();
    assert_eq!((stats.misses, stats.hits), (1, 49), "{stats}");
}

#[tokio::test]
async fn a_bypass_asks_the_database_and_keeps_nothing() {
    let (_folder, pool) = sqlite().await;
    let other = behind_the_back(&pool).await;
    let read = |bypass| {
        pool.cached(notes::table.count())
            .bypass(bypass)
            .first::<i64>()
    };
    assert_eq!(read(false).await.unwrap(), 0);
    insert(&other).await;
    assert_eq!(read(true).await.unwrap(), 1);
    assert_eq!(read(false).await.unwrap(), 0);
    pool.query_cache().invalidate(["notes"]);
    assert_eq!(read(false).await.unwrap(), 1);
    insert(&other).await;
    pool.query_cache().clear();
    assert_eq!(pool.query_cache().stats().entries, 0);
    assert_eq!(read(false).await.unwrap(), 2);
}

#[tokio::test]
async fn no_more_results_are_kept_than_configured() {
    let (_folder, pool) = sqlite().await;
    let config = QueryCacheConfig {
        max_entries: 32,
        max_bytes: Some(64 << 10),
        ..QueryCacheConfig::default()
    };
    let cache = pool.configure_query_cache(config.clone()).unwrap();
    for id in 0..200 {
        let query = notes::table.find(id).select(notes::text);
        pool.cached(query).optional::<String>().await.unwrap();
    }
    assert!(
        (1..=32).contains(&cache.stats().entries),
        "{}",
        cache.stats()
    );
    let again = pool.configure_query_cache(config).unwrap_err();
    assert!(matches!(again, CacheError::InUse));
}
