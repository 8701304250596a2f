//! SQLite.

use db_pool::{
    AcquireError, Connection, FindingKind as Kind, Pool, Sqlite, TrialError, TrialOptions,
};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use expect_test::expect;
use tempfile::TempDir;

use super::told;
use crate::sqlite_support::sqlite;
use crate::support::Count;

const TABLES: &str = "\
CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
                    \"Odd \"\"name\" TEXT, at INTEGER NOT NULL);
CREATE TABLE pairs (user_id INTEGER PRIMARY KEY REFERENCES users (id));
CREATE INDEX users_name ON users (name);
CREATE INDEX users_name_email ON users (name, email);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO users SELECT i, 'u' || i || '@example.org', 'name ' || (i % 100) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO posts SELECT i, i % 5000 + 1, 'title ' || i, i FROM n;";

async fn prepared() -> (TempDir, Pool<Sqlite>) {
    let (folder, pool) = sqlite().await;
    let mut connection: Connection<Sqlite> = pool.acquire().await.unwrap();
    connection.batch_execute(TABLES).await.unwrap();
    drop(connection);
    (folder, pool)
}

async fn run(pool: &Pool<Sqlite>, sql: &str) {
    let mut lane = pool.read().await.unwrap();
    let query = sql_query(sql.to_owned());
    let _: Vec<Count> = query.bind::<BigInt, _>(7).load(&mut lane).await.unwrap();
}

#[tokio::test]
async fn foreign_keys_and_needless_indexes_are_told() {
    let (_folder, pool) = prepared().await;
    let advice = pool.advice().await.unwrap();
    expect![[r#"warning: the foreign key (author_id) of posts to users has no index: each DELETE there reads and changes the whole table > CREATE INDEX "posts_author_id_idx" ON "posts" ("author_id");"#]].assert_eq(&told(&advice, Kind::UnindexedForeignKey));
    expect![[r#"hint: index users_name of users is needless: users_name_email begins with the same columns > DROP INDEX "users_name";"#]].assert_eq(&told(&advice, Kind::RedundantIndex));
    pool.close().await;
}

#[tokio::test]
async fn an_index_is_advised_for_a_statement_that_scans_and_only_if_the_planner_uses_it() {
    let (_folder, pool) = prepared().await;
    run(
        &pool,
        "SELECT id AS n FROM posts p WHERE p.author_id = ? ORDER BY at DESC LIMIT 10",
    )
    .await;
    run(&pool, "SELECT count(*) AS n FROM posts WHERE at + 0 = ?").await;
    run(
        &pool,
        "SELECT id AS n FROM posts WHERE \"Odd \"\"name\" = ?",
    )
    .await;
    let advice = pool.advice().await.unwrap();
    expect![[r#"
        warning: a costly statement needs an index on posts (Odd "name) > CREATE INDEX "posts_Odd ""name_idx" ON "posts" ("Odd ""name");
        warning: a costly statement needs an index on posts (author_id, at desc) > CREATE INDEX "posts_author_id_at_idx" ON "posts" ("author_id", "at" DESC);"#]].assert_eq(&told(&advice, Kind::MissingIndex));
    let by_author = |it: &&db_pool::Finding| it.index.as_ref().unwrap().columns.len() == 2;
    let of_posts = advice.of_kind(Kind::MissingIndex).find(by_author).unwrap();
    let trial = pool
        .try_index(of_posts, TrialOptions::default())
        .await
        .unwrap();
    assert!(
        trial.used && trial.before.took.is_some() && trial.after.took.is_some(),
        "{trial}"
    );
    expect!["SEARCH p USING COVERING INDEX db_pool_trial_index (author_id=?)"]
        .assert_eq(&trial.after.plan);
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let mine = format!("db-pool-trial-{}-", std::process::id());
    let left = left
        .filter(|it| it.file_name().to_string_lossy().starts_with(&mine))
        .count();
    assert_eq!(left, 0, "the copy is gone");
    let indexes =
        "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'posts'";
    let mut lane = pool.read().await.unwrap();
    let count: Count = sql_query(indexes).get_result(&mut lane).await.unwrap();
    assert_eq!(count.n, 0, "nothing was changed");
    drop(lane);
    pool.close().await;
}

#[tokio::test]
async fn the_index_of_a_foreign_key_is_tried_with_what_the_key_asks() {
    let (_folder, pool) = prepared().await;
    let advice = pool.advice().await.unwrap();
    let key = advice.of_kind(Kind::UnindexedForeignKey).next().unwrap();
    let trial = pool.try_index(key, TrialOptions::default()).await.unwrap();
    assert!(
        trial
            .to_string()
            .starts_with("index on posts (author_id): used, "),
        "{trial}"
    );
    let redundant = advice.of_kind(Kind::RedundantIndex).next().unwrap();
    let error = pool.try_index(redundant, TrialOptions::default()).await;
    assert!(matches!(error, Err(TrialError::NoIndex)));
    pool.close().await;
}

#[tokio::test]
async fn statements_that_cannot_be_explained_are_notes_without_their_text() {
    let (_folder, pool) = prepared().await;
    let mut writer = pool.acquire().await.unwrap();
    writer
        .batch_execute("CREATE TEMP TABLE mine (secret TEXT)")
        .await
        .unwrap();
    let query =
        sql_query("SELECT count(*) AS n FROM mine WHERE secret = 'abracadabra' AND secret <> ?");
    let _: Count = query
        .bind::<Text, _>("x")
        .get_result(&mut writer)
        .await
        .unwrap();
    drop(writer);
    let advice = pool.advice().await.unwrap();
    let text = format!("{advice}{}", serde_json::to_string(&advice).unwrap());
    assert!(text.contains("it could not be explained"), "{text}");
    assert!(!text.contains("abracadabra"), "{text}");
    pool.close().await;
}

#[tokio::test]
async fn a_closed_pool_gives_no_advice() {
    let (_folder, pool) = prepared().await;
    pool.close().await;
    assert!(matches!(pool.advice().await, Err(AcquireError::Closed)));
}

#[tokio::test]
async fn advice_of_a_busy_pool_comes_from_its_own_numbers() {
    let (_folder, pool) = sqlite().await;
    for _ in 0..120 {
        drop(pool.read().await.unwrap());
    }
    let advice = pool.advice().await.unwrap();
    assert_eq!(advice.of_kind(Kind::PoolFits).count(), 1, "{advice}");
    let statements = pool.statements().len();
    pool.advice().await.unwrap();
    assert_eq!(
        pool.statements().len(),
        statements,
        "advice does not measure itself"
    );
    pool.close().await;
}
