//! Loaders: loads by key that are written one by one and sent together.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 03_loader`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use db_pool::{Lane, LoaderOptions, Pool, PoolConfig, Sqlite};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::try_join_all;

use self::schema::users;

mod schema {
    diesel::table! {
        users (id) {
            id -> Integer,
            name -> Text,
        }
    }
}

/// How many queries the loaders have sent.
static QUERIES: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/app.db", folder.path().display());
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file)).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO users SELECT i, 'user ' || i FROM n",
        )
        .await?;

    // It gets a lane and keys without duplicates; what it leaves out is missing.
    let fetch = async |lane: &mut Lane<Sqlite>, ids: Vec<i32>| {
        QUERIES.fetch_add(1, Ordering::Relaxed);
        users::table
            .filter(users::id.eq_any(ids))
            .select((users::id, users::name))
            .load::<(i32, String)>(lane)
            .await
    };
    let names = pool.loader(fetch);

    // Five hundred tasks, each after a user of its own.
    let tasks = (1..=500).map(|id| tokio::spawn(names.load_one(id)));
    for (id, name) in (1..).zip(try_join_all(tasks.collect::<Vec<_>>()).await?) {
        assert_eq!(name?, Some(format!("user {id}")));
    }
    println!(
        "500 loads took {} queries",
        QUERIES.swap(0, Ordering::Relaxed)
    );

    // In the order of the keys, and `None` for what is not there.
    let found = names.load_many([3, 5_000, 1]).await?;
    println!("3, 5000, 1:    {found:?}");
    assert_eq!(found[1], None);
    QUERIES.swap(0, Ordering::Relaxed);

    // One per request remembers what it has loaded.
    let of_request = pool.loader_with(LoaderOptions::per_request(), fetch);
    for _ in 0..3 {
        of_request.load_one(7).await?;
    }
    let queries = QUERIES.swap(0, Ordering::Relaxed);
    println!("7 three times: {queries} query");
    of_request.forget(); // after a write
    of_request.load_one(7).await?;
    assert_eq!(queries + QUERIES.swap(0, Ordering::Relaxed), 2);

    // The pool saw one statement, however many keys it carried.
    for statement in pool.statements() {
        println!("{} x {}", statement.count, statement.sql);
    }
    pool.close().await;
    Ok(())
}
