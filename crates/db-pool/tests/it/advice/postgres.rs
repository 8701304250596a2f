//! PostgreSQL.

use db_pool::{FindingKind as Kind, Pool, Postgres, TrialError, TrialOptions};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use expect_test::expect;

use super::{notes, told};
use crate::postgres_support::Database;
use crate::support::Count;

const TABLES: &str = "\
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, name varchar(40) NOT NULL);
CREATE SCHEMA \"odd \"\"schema\";
CREATE TABLE \"odd \"\"schema\".\"Posts; DROP\" (id bigint PRIMARY KEY,
    \"author \"\"id\" bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE, title text, at bigint NOT NULL);
CREATE INDEX users_name ON users (name);
CREATE INDEX users_name_email ON users (name, email);
INSERT INTO users SELECT i, 'u' || i || '@example.org', 'name ' || (i % 100) FROM generate_series(1, 20000) i;
INSERT INTO \"odd \"\"schema\".\"Posts; DROP\" SELECT i, i % 20000 + 1, 'title ' || i, i FROM generate_series(1, 60000) i;
ANALYZE;";

async fn prepared(database: &Database) -> Pool<Postgres> {
    let pool = database.pool(|_| {}).await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(TABLES).await.unwrap();
    drop(connection);
    pool
}

async fn run(pool: &Pool<Postgres>, sql: &str) {
    let mut connection = pool.acquire().await.unwrap();
    let query = sql_query(sql.to_owned());
    let _: Vec<Count> = query
        .bind::<BigInt, _>(7)
        .load(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn foreign_keys_and_needless_and_invalid_indexes_are_told() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database).await;
    let raw = database.raw().await;
    let broken = "CREATE UNIQUE INDEX CONCURRENTLY broken ON users (name)";
    assert!(raw.batch_execute(broken).await.is_err());
    let advice = pool.advice().await.unwrap();
    expect![[r#"warning: the foreign key Posts; DROP_author "id_fkey of odd "schema.Posts; DROP to users has no index: each DELETE there reads and changes the whole table > CREATE INDEX CONCURRENTLY ON "odd ""schema"."Posts; DROP" ("author ""id");"#]].assert_eq(&told(&advice, Kind::UnindexedForeignKey));
    expect![[r#"hint: index users_name of users is needless: users_name_email begins with the same columns > DROP INDEX CONCURRENTLY "public"."users_name";"#]].assert_eq(&told(&advice, Kind::RedundantIndex));
    expect![[r#"warning: index broken of users is invalid: it costs with each write and is never used > DROP INDEX CONCURRENTLY "public"."broken";"#]].assert_eq(&told(&advice, Kind::InvalidIndex));
    expect!["statements: none has been measured yet"].assert_eq(&notes(&advice));
    // What it says can be done.
    for finding in advice.of_kind(Kind::UnindexedForeignKey) {
        raw.batch_execute(&finding.todo[0].to_string())
            .await
            .unwrap();
    }
    let advice = pool.advice().await.unwrap();
    assert_eq!(
        advice.of_kind(Kind::UnindexedForeignKey).count(),
        0,
        "{advice}"
    );
    pool.close().await;
}

#[tokio::test]
async fn an_index_is_advised_for_a_costly_statement_that_scans() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database).await;
    run(
        &pool,
        "SELECT id AS n FROM users u WHERE u.email = $1::text AND u.id > 0",
    )
    .await;
    run(&pool, "SELECT id AS n FROM \"odd \"\"schema\".\"Posts; DROP\" WHERE \"author \"\"id\" = $1 ORDER BY at DESC LIMIT 10").await;
    run(
        &pool,
        "SELECT count(*) AS n FROM users WHERE lower(email) = $1::text",
    )
    .await;
    run(&pool, "SELECT u.id AS n FROM users u WHERE id = $1").await;
    let advice = pool.advice().await.unwrap();
    expect![[r#"
        warning: a costly statement reads all of Posts; DROP for want of an index on Posts; DROP (author "id, at desc) > CREATE INDEX CONCURRENTLY ON "odd ""schema"."Posts; DROP" ("author ""id", "at" DESC);
        warning: a costly statement reads all of users for want of an index on users (email, id) > CREATE INDEX CONCURRENTLY ON "public"."users" ("email", "id");"#]].assert_eq(&told(&advice, Kind::MissingIndex));
    assert_eq!(notes(&advice), "");
    let finding = advice.of_kind(Kind::MissingIndex).next().unwrap();
    let error = pool.try_index(finding, TrialOptions::default()).await;
    assert!(matches!(error, Err(TrialError::NeedsBuild)), "{error:?}");
    let build = TrialOptions {
        build: true,
        ..TrialOptions::default()
    };
    for finding in advice.of_kind(Kind::MissingIndex) {
        let trial = pool.try_index(finding, build).await.unwrap();
        assert!(
            trial.used && trial.after.cost < trial.before.cost,
            "{trial}"
        );
        assert!(
            trial.before.took.is_some() && trial.after.took.is_some(),
            "{trial}"
        );
    }
    let raw = database.raw().await;
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'db_pool%'";
    assert_eq!(raw.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    pool.close().await;
}

#[tokio::test]
async fn big_tables_read_from_end_to_end_are_told_by_what_happened_since_the_last_time() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database).await;
    let raw = database.raw().await;
    pool.advice().await.unwrap();
    for _ in 0..60 {
        raw.batch_execute("SELECT count(*) FROM users WHERE email = 'x'")
            .await
            .unwrap();
    }
    // The server publishes what a session did at the latest when it ends.
    drop(raw);
    let mut found = String::new();
    for _ in 0..200 {
        found = told(&pool.advice().await.unwrap(), Kind::SequentialScans);
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    expect!["warning: users is read from end to end again and again > find the statement: a missing index for it is told here if it was slow enough to be noticed"].assert_eq(&found);
    pool.close().await;
}

#[tokio::test]
async fn a_role_without_rights_gets_notes_and_the_rest_of_the_advice() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = prepared(&database).await;
    let role = format!("{}_nobody", database.name);
    let mut connection = pool.acquire().await.unwrap();
    connection
        .batch_execute(&format!("CREATE ROLE {role}"))
        .await
        .unwrap();
    let reduced = database
        .pool(|config| {
            let parameters = if config.url.contains('?') { '&' } else { '?' };
            config.url = format!("{}{parameters}options=-c%20role%3D{role}", config.url);
        })
        .await;
    let mut refused = reduced.acquire().await.unwrap();
    let query =
        sql_query("SELECT count(*) AS n FROM users WHERE email = $1 AND name <> 'abracadabra'");
    let denied = query
        .bind::<Text, _>("x")
        .get_result::<Count>(&mut refused)
        .await;
    assert!(denied.is_err());
    drop(refused);
    let advice = reduced.advice().await.unwrap();
    let text = format!("{advice}{}", serde_json::to_string(&advice).unwrap());
    expect!["the plan of `SELECT count(*) AS n FROM users WHERE email = ? AND name <> ?`: permission denied for table users"].assert_eq(&notes(&advice));
    assert!(!text.contains("abracadabra"), "{text}");
    assert!(
        advice.of_kind(Kind::UnindexedForeignKey).count() == 1,
        "{advice}"
    );
    reduced.close().await;
    connection
        .batch_execute(&format!("DROP ROLE {role}"))
        .await
        .unwrap();
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn advice_leaves_no_statement_and_no_setting_behind() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|config| (config.max_size, config.lanes) = (1, 0))
        .await;
    pool.acquire()
        .await
        .unwrap()
        .batch_execute(TABLES)
        .await
        .unwrap();
    run(&pool, "SELECT id AS n FROM users WHERE email = $1::text").await;
    pool.advice().await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'db_pool%')
        + (current_setting('statement_timeout') <> '30s')::int + (current_setting('plan_cache_mode') <> 'auto')::int AS n";
    let mut connection = pool.acquire().await.unwrap();
    let count: Count = sql_query(left).get_result(&mut connection).await.unwrap();
    assert_eq!(count.n, 0);
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn a_pool_without_a_free_connection_still_gets_the_advice_of_its_own_numbers() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|config| {
            (config.max_size, config.lanes) = (1, 0);
            config.acquire_timeout = std::time::Duration::from_millis(100);
        })
        .await;
    let held = pool.acquire().await.unwrap();
    let advice = pool.advice().await.unwrap();
    assert!(
        advice
            .notes
            .iter()
            .any(|note| note.starts_with("the server: ")),
        "{advice}"
    );
    drop(held);
    pool.close().await;
}
