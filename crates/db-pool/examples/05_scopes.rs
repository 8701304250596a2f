//! Scopes: what one request asks of its database, the N+1 in it, and the deadline that it hands to the pool.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 05_scopes`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use db_pool::{Lane, Pool, PoolConfig, Scope, Sqlite};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::Instant;

use self::schema::{posts, users};

mod schema {
    diesel::table! {
        users (id) {
            id -> Integer,
            name -> Text,
        }
    }

    diesel::table! {
        posts (id) {
            id -> Integer,
            author_id -> Integer,
        }
    }
}

type AnyError = Box<dyn Error + Send + Sync>;

/// The authors of the newest posts, as it is written at first: a query for each post.
async fn page(pool: &Pool<Sqlite>) -> Result<Vec<String>, AnyError> {
    let mut lane = pool.read().await?;
    let newest = posts::table.order(posts::id.desc()).limit(10);
    let authors: Vec<i32> = newest.select(posts::author_id).load(&mut lane).await?;
    let mut names = Vec::new();
    for id in authors {
        let name = users::table.find(id).select(users::name);
        names.push(name.first::<String>(&mut lane).await?);
    }
    Ok(names)
}

/// The same with a loader: two queries, however many posts there are. The loader's runs on a task of its own, shared with
/// other requests, so the scope counts one.
async fn better_page(pool: &Pool<Sqlite>) -> Result<Vec<String>, AnyError> {
    let names = pool.loader(async |lane: &mut Lane<Sqlite>, ids: Vec<i32>| {
        let query = users::table.filter(users::id.eq_any(ids));
        query.load::<(i32, String)>(lane).await
    });
    let mut lane = pool.read().await?;
    let newest = posts::table.order(posts::id.desc()).limit(10);
    let authors: Vec<i32> = newest.select(posts::author_id).load(&mut lane).await?;
    let found = names.load_many(authors).await?;
    Ok(found.into_iter().flatten().collect())
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/app.db", folder.path().display());
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file)).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO users SELECT i, 'user ' || i FROM n;
             INSERT INTO posts SELECT id, id FROM users",
        )
        .await?;

    // In a service, `ScopeLayer` (feature `tower`) does this for each request.
    let scope = Scope::new();
    let names = scope.run(page(&pool)).await?;
    println!("{}\n", scope.report());
    assert_eq!(scope.report().n_plus_ones.len(), 1);

    let scope = Scope::new();
    assert_eq!(scope.run(better_page(&pool)).await?, names);
    println!("{}\n", scope.report());
    // For a test: both panic with the report.
    scope.assert_no_n_plus_one();
    scope.assert_statements_at_most(2);

    // A request that ends in 30 ms does not wait for 5 s: here all connections that may write are out.
    let held = pool.acquire().await?;
    let deadline = Instant::now() + Duration::from_millis(30);
    let scope = Scope::with_deadline(Some(deadline));
    let refused = scope.run(pool.acquire()).await;
    println!("{}", refused.expect_err("the writer is out"));
    drop(held);
    pool.close().await;
    Ok(())
}
