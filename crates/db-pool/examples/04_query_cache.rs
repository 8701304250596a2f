//! The query cache: results that live until a table behind them is written, here or in another process.
//!
//! Run it with `cargo run -p db-pool --features sqlite,query-cache --example 04_query_cache`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;

use db_pool::{MemoryBus, Pool, PoolConfig, QueryCacheConfig, Sqlite, TransactionOptions};
use diesel::prelude::*;
use diesel::result::Error as DbError;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::Instant;

use self::schema::posts;

mod schema {
    diesel::table! {
        posts (id) {
            id -> Integer,
            author -> Text,
        }
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

async fn pool_on(file: &str, bus: &Arc<MemoryBus>) -> Result<Pool<Sqlite>, AnyError> {
    let pool = Pool::connect(PoolConfig::embedded(file)).await?;
    pool.configure_query_cache(QueryCacheConfig {
        // Stands for one between processes: `PgNotifyBus` on PostgreSQL, or your own.
        bus: Some(Arc::<MemoryBus>::clone(bus)),
        ..QueryCacheConfig::default()
    })?;
    Ok(pool)
}

async fn by_author(pool: &Pool<Sqlite>) -> Result<Arc<Vec<(String, i64)>>, AnyError> {
    let query = posts::table
        .group_by(posts::author)
        .order(posts::author)
        .select((posts::author, diesel::dsl::count_star()));
    Ok(pool.cached(query).ttl("5m").load().await?)
}

/// Until what the bus carries has arrived.
async fn until(pool: &Pool<Sqlite>, count: i64) -> Result<(), AnyError> {
    while by_author(pool).await?.iter().map(|(_, n)| n).sum::<i64>() != count {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/blog.db", folder.path().display());
    let bus = Arc::new(MemoryBus::new());
    let pool = pool_on(&file, &bus).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE posts (id INTEGER PRIMARY KEY, author TEXT NOT NULL);
             CREATE TABLE visits (id INTEGER PRIMARY KEY);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO posts SELECT i, 'author ' || (i % 3) FROM n",
        )
        .await?;
    // The bus is reached in the background; until then all is asked of the database.
    while pool.query_cache().stats().hits == 0 {
        by_author(&pool).await?;
        tokio::task::yield_now().await;
    }

    let first = by_author(&pool).await?;
    let begun = Instant::now();
    for _ in 0..1_000 {
        by_author(&pool).await?;
    }
    println!("a hit:                  {:.1?}", begun.elapsed() / 1_000);
    assert!(Arc::ptr_eq(&first, &by_author(&pool).await?), "no copy");

    // Another table: the result stays. This one: it is gone before the write returns.
    let mut connection = pool.acquire().await?;
    connection
        .batch_execute("INSERT INTO visits DEFAULT VALUES")
        .await?;
    println!("another table written:  {:?}", by_author(&pool).await?);
    connection
        .batch_execute("DELETE FROM posts WHERE id > 10")
        .await?;
    println!("this table written:     {:?}", by_author(&pool).await?);
    drop(connection);

    // A transaction counts when it commits, and only then.
    let count = || async { Ok::<_, AnyError>(pool.query_cache().stats().misses) };
    let before = count().await?;
    let rolled_back: Result<(), DbError> = pool
        .transaction(TransactionOptions::default(), async |tx| {
            diesel::delete(posts::table).execute(tx).await?;
            Err(DbError::RollbackTransaction)
        })
        .await;
    assert!(rolled_back.is_err());
    by_author(&pool).await?;
    assert_eq!(count().await?, before, "a rollback costs nobody a query");

    // What another process writes arrives by the bus.
    let other = pool_on(&file, &bus).await?;
    until(&other, 10).await?;
    let add = "INSERT INTO posts (author) VALUES ('author 9')";
    other.acquire().await?.batch_execute(add).await?;
    until(&pool, 11).await?;
    println!("written elsewhere:      {:?}", by_author(&pool).await?);

    // A bus that is cut is no reason to show old rows: all is asked of the database until it is back.
    bus.cut();
    other.acquire().await?.batch_execute(add).await?;
    until(&pool, 12).await?;
    println!("while the bus is cut:   {:?}", by_author(&pool).await?);

    println!("\n{}", pool.query_cache().stats());
    other.close().await;
    pool.close().await;
    Ok(())
}
