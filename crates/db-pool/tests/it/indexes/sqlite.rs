//! SQLite.

use db_pool::{Connection, Index, IndexNotUsed, Pool, Sqlite, assert_uses_index, ensure_indexes};
use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use expect_test::expect;
use tempfile::TempDir;

use crate::sqlite_support::sqlite;
use crate::support::chain;

diesel::table! {
    users { id -> Integer, email -> Text, name -> Text, }
}

const INDEXES: &[Index] = ensure_indexes! {
    users (email) unique;
    users (name, id desc);
    users (name) where "email IS NULL";
    "odd \"table" ("odd column", "select");
    nowhere (id);
};

async fn prepared(sql: &str) -> (TempDir, Pool<Sqlite>) {
    let (folder, pool) = sqlite().await;
    let mut connection: Connection<Sqlite> = pool.acquire().await.unwrap();
    let tables = "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT);
        CREATE TABLE \"odd \"\"table\" (\"odd column\" TEXT, \"select\" TEXT);";
    connection.batch_execute(tables).await.unwrap();
    connection.batch_execute(sql).await.unwrap();
    drop(connection);
    (folder, pool)
}

#[tokio::test]
async fn missing_indexes_are_told_then_created_and_created_once() {
    let (_folder, pool) = prepared("").await;
    let report = pool.check_indexes(INDEXES).await.unwrap();
    assert!(!report.is_complete());
    expect![[r#"
        ! users (email) unique              missing
        ! users (name, id desc)             missing
        ! users (name) where email IS NULL  missing
        ! odd "table (odd column, select)   missing
        ! nowhere (id)                      no such table"#]]
    .assert_eq(&report.to_string());
    let report = pool.ensure_indexes(INDEXES).await.unwrap();
    expect![[r#"
          users (email) unique              created as users_email_key
          users (name, id desc)             created as users_name_id_e3fcac98_idx
          users (name) where email IS NULL  created as users_name_2418a016_idx
          odd "table (odd column, select)   created as odd "table_odd column_select_idx
        ! nowhere (id)                      no such table"#]]
    .assert_eq(&report.to_string());
    let again = pool.ensure_indexes(INDEXES).await.unwrap();
    expect![[r#"
          users (email) unique              present as users_email_key
          users (name, id desc)             present as users_name_id_e3fcac98_idx
          users (name) where email IS NULL  present as users_name_2418a016_idx
          odd "table (odd column, select)   present as odd "table_odd column_select_idx
        ! nowhere (id)                      no such table"#]]
    .assert_eq(&again.to_string());
    let json = serde_json::to_string(&again.entries[0]).unwrap();
    expect![[r#"{"declared":"users (email) unique","state":"present","name":"users_email_key"}"#]]
        .assert_eq(&json);
    pool.close().await;
}

#[tokio::test]
async fn an_index_of_the_same_name_that_differs_is_told_and_left_alone() {
    let (_folder, pool) = prepared(
        "CREATE INDEX users_email_key ON users (email);
         CREATE INDEX other ON users (NAME, Id DESC);",
    )
    .await;
    let report = pool.ensure_indexes(&INDEXES[..2]).await.unwrap();
    expect![[r#"
        ! users (email) unique   different: users_email_key: it is not unique
          users (name, id desc)  present as other"#]]
    .assert_eq(&report.to_string());
    pool.close().await;
}

#[tokio::test]
async fn a_unique_index_on_equal_rows_says_why_it_cannot_be() {
    let (_folder, pool) = prepared("INSERT INTO users VALUES (1, 'a', 'b'), (2, 'a', 'c');").await;
    let error = pool.ensure_indexes(INDEXES).await.unwrap_err();
    expect![[r#"index `users_email_key` on users (email) unique could not be created: UNIQUE constraint failed: users.email"#]]
        .assert_eq(&chain(&error));
    pool.close().await;
}

#[tokio::test]
async fn a_query_that_uses_its_index_passes_and_another_fails_with_its_plan() {
    let (_folder, pool) = prepared("").await;
    pool.ensure_indexes(INDEXES).await.unwrap();
    let by_email = users::table.filter(users::email.eq("a")).select(users::id);
    assert_uses_index(&pool, by_email, "users_email_key")
        .await
        .unwrap();
    let boxed = users::table.filter(users::email.eq("a")).into_boxed();
    assert_uses_index(&pool, boxed, "users_email_key")
        .await
        .unwrap();
    let upper = users::table
        .filter(users::email.like("%a"))
        .select(users::name);
    let error = assert_uses_index(&pool, upper, "users_email_key")
        .await
        .unwrap_err();
    assert!(matches!(&error, IndexNotUsed::NotUsed { exists: true, .. }));
    expect![[r#"
        index `users_email_key` is not used; the plan is
        SCAN users"#]]
    .assert_eq(&format!("{error:?}"));
    let error = assert_uses_index(&pool, users::table.select(users::id), "users_email_kex")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("index `users_email_kex` does not exist"),
        "{error}"
    );
    let broken = diesel::sql_query("SELECT nothing FROM users");
    let error = assert_uses_index(&pool, broken, "users_email_key")
        .await
        .unwrap_err();
    expect![[r#"the query could not be explained: near "nothing": syntax error"#]]
        .assert_eq(&format!("{error:?}"));
    pool.close().await;
}
