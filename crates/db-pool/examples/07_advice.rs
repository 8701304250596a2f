//! Advice and declared indexes: what to change, what it would bring, and how to keep it so.
//!
//! Run it with `cargo run -p db-pool --features sqlite,advice --example 07_advice`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use db_pool::{
    FindingKind, Index, Pool, PoolConfig, Sqlite, TrialOptions, assert_uses_index, ensure_indexes,
};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use self::schema::posts;

mod schema {
    diesel::table! {
        posts (id) {
            id -> Integer,
            author_id -> Integer,
            title -> Text,
        }
    }
}

/// What this program expects of its database, beside the code that needs it.
const INDEXES: &[Index] = ensure_indexes! {
    posts (author_id);
};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/blog.db", folder.path().display());
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file)).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             CREATE TABLE posts (id INTEGER PRIMARY KEY,
                                 author_id INTEGER NOT NULL REFERENCES users (id), title TEXT NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
             INSERT INTO users SELECT i, 'user ' || i FROM n;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
             INSERT INTO posts SELECT i, i % 2000 + 1, 'title ' || i FROM n",
        )
        .await?;

    // Some work, a part of it with a connection that is held while something else is waited for.
    let of_author = |author| {
        let posts = posts::table.filter(posts::author_id.eq(author));
        posts.select(posts::title).order(posts::id)
    };
    for author in 1..=20 {
        let mut lane = pool.read().await?;
        let titles: Vec<String> = of_author(author).load(&mut lane).await?;
        assert_eq!(titles.len(), 20);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    let advice = pool.advice().await?;
    println!("{advice}\n");

    // What would it bring? Tried on a copy of the file; nothing is changed.
    let finding = advice.of_kind(FindingKind::MissingIndex).next();
    let finding = finding.ok_or("a scan of 40,000 rows for 20 of them")?;
    let trial = pool.try_index(finding, TrialOptions::default()).await?;
    println!("{trial}\n");
    assert!(trial.used);

    // Declared indexes: told, or created, when the program starts.
    println!("{}", pool.check_indexes(INDEXES).await?);
    let report = pool.ensure_indexes(INDEXES).await?;
    println!("{report}");
    assert!(report.is_complete());

    // And for a test: a query does not lose its index unnoticed.
    assert_uses_index(&pool, of_author(7), "posts_author_id_idx").await?;
    pool.close().await;
    Ok(())
}
