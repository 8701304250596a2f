//! PostgreSQL.

use db_pool::{Index, IndexError, Pool, Postgres, assert_uses_index, ensure_indexes};
use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use expect_test::expect;

use crate::postgres_support::Database;
use crate::support::chain;

diesel::table! {
    users { id -> Integer, email -> Text, name -> Text, }
}

const INDEXES: &[Index] = ensure_indexes! {
    users (email) unique;
    users (name, id desc);
    users (id) where "name = 'x' AND email IS NULL";
    "odd \"schema"."odd \"table" ("odd column", "select");
    nowhere (id);
    audit.nowhere (id);
};

const TABLES: &str = "\
CREATE TABLE users (id integer PRIMARY KEY, email text, name varchar(20));
CREATE SCHEMA \"odd \"\"schema\";
CREATE TABLE \"odd \"\"schema\".\"odd \"\"table\" (\"odd column\" text, \"select\" text);";

async fn prepared(database: &Database, sql: &str) -> Pool<Postgres> {
    let pool = database.pool(|_| {}).await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(TABLES).await.unwrap();
    connection.batch_execute(sql).await.unwrap();
    drop(connection);
    pool
}

#[tokio::test]
async fn missing_indexes_are_told_then_created_and_created_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database, "").await;
    let report = pool.check_indexes(INDEXES).await.unwrap();
    expect![[r#"
        ! users (email) unique                           missing
        ! users (name, id desc)                          missing
        ! users (id) where name = 'x' AND email IS NULL  missing
        ! odd "schema.odd "table (odd column, select)    missing
        ! nowhere (id)                                   no such table
        ! audit.nowhere (id)                             no such table"#]]
    .assert_eq(&report.to_string());
    let report = pool.ensure_indexes(INDEXES).await.unwrap();
    expect![[r#"
          users (email) unique                           created as users_email_key
          users (name, id desc)                          created as users_name_id_e3fcac98_idx
          users (id) where name = 'x' AND email IS NULL  created as users_id_8545996d_idx
          odd "schema.odd "table (odd column, select)    created as odd "table_odd column_select_idx
        ! nowhere (id)                                   no such table
        ! audit.nowhere (id)                             no such table"#]]
    .assert_eq(&report.to_string());
    let again = pool.ensure_indexes(INDEXES).await.unwrap();
    expect![[r#"
          users (email) unique                           present as users_email_key
          users (name, id desc)                          present as users_name_id_e3fcac98_idx
          users (id) where name = 'x' AND email IS NULL  present as users_id_8545996d_idx
          odd "schema.odd "table (odd column, select)    present as odd "table_odd column_select_idx
        ! nowhere (id)                                   no such table
        ! audit.nowhere (id)                             no such table"#]]
    .assert_eq(&again.to_string());
    pool.close().await;
}

#[tokio::test]
async fn processes_that_start_together_create_each_index_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database, "").await;
    let others = [database.pool(|_| {}).await, database.pool(|_| {}).await];
    let (a, b, c) = tokio::join!(
        pool.ensure_indexes(INDEXES),
        others[0].ensure_indexes(INDEXES),
        others[1].ensure_indexes(INDEXES)
    );
    let told = [a, b, c].map(|report| report.unwrap().to_string());
    let created = |text: &String| text.matches("created as").count();
    assert_eq!(told.iter().map(created).sum::<usize>(), 4, "{told:#?}");
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = $database)";
    for pool in [&pool, &others[0], &others[1]] {
        assert_eq!(pool.close().await, 0);
    }
    assert_eq!(database.count(locks).await, 0);
}

#[tokio::test]
async fn an_invalid_leftover_is_dropped_and_built_again_and_a_different_index_is_left_alone() {
    let Some(database) = Database::new().await else {
        return;
    };
    let rows = "INSERT INTO users VALUES (1, 'a', 'b'), (2, 'a', 'c'); CREATE INDEX users_name_id_idx ON users (id)";
    let pool = prepared(&database, rows).await;
    let error = pool.ensure_indexes(INDEXES).await.unwrap_err();
    assert!(matches!(error, IndexError::Create { .. }));
    expect![[r#"index `users_email_key` on users (email) unique could not be created: could not create unique index "users_email_key""#]]
        .assert_eq(&chain(&error));
    let leftovers = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    let raw = database.raw().await;
    let count = async || {
        raw.query_one(leftovers, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    assert_eq!(count().await, 0, "a failed attempt cleans up");
    let by_hand = "CREATE UNIQUE INDEX CONCURRENTLY users_email_key ON users (email)";
    assert!(raw.batch_execute(by_hand).await.is_err());
    assert_eq!(count().await, 1);
    let report = pool.check_indexes(&INDEXES[..1]).await.unwrap();
    expect!["! users (email) unique  invalid: users_email_key"].assert_eq(&report.to_string());
    raw.batch_execute("DELETE FROM users WHERE id = 2")
        .await
        .unwrap();
    const NAMED: Index = Index::on("users", &["name", "id"]).named("users_name_id_idx");
    let report = pool.ensure_indexes(&[INDEXES[0], NAMED]).await.unwrap();
    expect![[r#"
          users (email) unique  built again: users_email_key
        ! users (name, id)      different: users_name_id_idx: it covers (id)"#]]
    .assert_eq(&report.to_string());
    assert_eq!(count().await, 0);
    pool.close().await;
}

#[tokio::test]
async fn a_role_without_rights_gets_an_error_that_says_so() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database, "").await;
    let raw = database.raw().await;
    let role = format!("{}_reader", database.name);
    raw.batch_execute(&format!("CREATE ROLE {role}"))
        .await
        .unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let reduced = database
        .pool(|config| {
            let parameters = if config.url.contains('?') { '&' } else { '?' };
            config.url = format!("{}{parameters}options=-c%20role%3D{role}", config.url);
        })
        .await;
    let report = reduced.check_indexes(&INDEXES[..1]).await.unwrap();
    expect!["! users (email) unique  missing"].assert_eq(&report.to_string());
    let error = reduced.ensure_indexes(&INDEXES[..1]).await.unwrap_err();
    expect!["index `users_email_key` on users (email) unique could not be created: must be owner of table users"]
        .assert_eq(&chain(&error));
    connection
        .batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
    drop(connection);
    reduced.close().await;
    pool.close().await;
}

#[tokio::test]
async fn a_query_that_uses_its_index_passes_and_another_fails_with_its_plan() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database, "").await;
    pool.ensure_indexes(INDEXES).await.unwrap();
    let by_email = users::table.filter(users::email.eq("a")).into_boxed();
    assert_uses_index(&pool, by_email, "users_email_key")
        .await
        .unwrap();
    let unlike = users::table
        .filter(users::email.like("%a"))
        .select(users::name);
    let error = assert_uses_index(&pool, unlike, "users_email_key")
        .await
        .unwrap_err();
    expect![[r#"
        index `users_email_key` is not used; the plan is
        Seq Scan on users
          Filter: (email ~~ '%a'::text)"#]]
    .assert_eq(&format!("{error:?}"));
    let error = assert_uses_index(&pool, diesel::sql_query("SELECT nothing"), "users_pkey")
        .await
        .unwrap_err();
    expect![[r#"the query could not be explained: column "nothing" does not exist"#]]
        .assert_eq(&format!("{error:?}"));
    let missing = assert_uses_index(&pool, users::table.select(users::id), "none")
        .await
        .unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("index `none` does not exist"),
        "{missing}"
    );
    // No planner setting of these stays on the connection, and no transaction.
    assert!(
        pool.transaction(db_pool::TransactionOptions::default(), async |_| Ok::<
            _,
            diesel::result::Error,
        >(
            ()
        ))
        .await
        .is_ok()
    );
    pool.close().await;
}
