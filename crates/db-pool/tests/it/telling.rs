//! What the log says of statements on both databases: enough to find them, and never a value.

use std::time::Duration;

use db_pool::{Backend, Pool, Scope, TransactionOptions};
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::log_support::Log;
use crate::postgres_support::Database;
use crate::sqlite_support::sqlite_with;
use crate::support::Word;

const SECRET: &str = "correct horse battery staple";
const ALWAYS_SLOW: Option<Duration> = Some(Duration::from_nanos(1));

/// Sends a secret in every way that there is.
macro_rules! tell_secrets {
    ($pool:expr, $place:literal) => {{
        let pool = $pool;
        let scope = Scope::new();
        let told = scope.run(async {
            let mut connection = pool.acquire().await.unwrap();
            let create = "CREATE TABLE people (name TEXT UNIQUE)";
            connection.batch_execute(create).await.unwrap();
            let literal = format!("INSERT INTO people VALUES ('{SECRET}')");
            connection.batch_execute(&literal).await.unwrap();
            let insert = concat!("INSERT INTO people VALUES (", $place, ")");
            let again = sql_query(insert).bind::<Text, _>(SECRET);
            again.execute(&mut connection).await.unwrap_err();
            drop(connection);
            for number in 0..6 {
                let select = concat!("SELECT name AS word FROM people WHERE name = ", $place);
                let select = sql_query(select).bind::<Text, _>(format!("{SECRET}{number}"));
                let mut connection = pool.acquire().await.unwrap();
                select.load::<Word>(&mut connection).await.unwrap();
            }
            let update = concat!("UPDATE people SET name = ", $place);
            let update = || sql_query(update).bind::<Text, _>(SECRET);
            let options = TransactionOptions::default();
            let updated = pool.transaction(options, async |tx| update().execute(tx).await);
            updated.await.unwrap();
        });
        told.await;
        pool.status();
        scope.report()
    }};
}

fn check(log: &Log, shown: &[String], system: &str) {
    let text = log.text();
    assert!(!text.contains("horse"), "{text}");
    for shown in shown {
        assert!(!shown.contains("horse"), "{shown}");
    }
    // Six at once, told once; the others are counted for the next second.
    let slow = log.lines(&["WARN", "slow statement", "FROM people WHERE name = ?"]);
    assert_eq!(slow.len(), 1, "{text}");
    assert!(slow[0].contains("fingerprint=") && slow[0].contains("took="));
    let repeated = log.lines(&["WARN", "N+1", "times=5"]);
    assert_eq!(repeated.len(), 1, "{text}");
    let spans = log.lines(&["db.query{", "db.query.summary=\"SELECT people\"", "close"]);
    assert_eq!(spans.len(), 6, "{text}");
    let system = format!("db.system.name=\"{system}\"");
    assert!(spans[0].contains(&system), "{}", spans[0]);
    assert!(spans[0].contains("db.operation.name=\"SELECT\""));
    let failed = log.lines(&["db.query{", "INSERT people", "error.type="]);
    assert_eq!(failed.len(), 1, "{text}");
    let inside = log.lines(&["db.transaction{", "db.query{", "UPDATE people"]);
    assert_eq!(inside.len(), 1, "{text}");
}

fn shown<B: Backend>(pool: &Pool<B>, report: &db_pool::ScopeReport) -> Vec<String> {
    vec![
        format!("{:?}", pool.statements()),
        format!("{:?} {:#}", pool.status(), pool.status()),
        format!("{report} {report:?}"),
    ]
}

#[tokio::test]
async fn on_sqlite_the_log_names_statements_and_no_value() {
    let log = Log::new();
    let (_folder, pool) = sqlite_with(|config| config.slow_query = ALWAYS_SLOW).await;
    let report = tell_secrets!(&pool, "?");
    check(&log, &shown(&pool, &report), "sqlite");
}

#[tokio::test]
async fn on_postgresql_the_log_names_statements_and_no_value() {
    let Some(database) = Database::new().await else {
        return;
    };
    let log = Log::new();
    let pool = database
        .pool(|config| config.slow_query = ALWAYS_SLOW)
        .await;
    let report = tell_secrets!(&pool, "$1");
    check(&log, &shown(&pool, &report), "postgresql");
    pool.close().await;
}

#[tokio::test]
async fn a_statement_that_is_fast_enough_is_not_told() {
    let log = Log::new();
    let (_folder, pool) = sqlite_with(|config| config.slow_query = None).await;
    let mut connection = pool.acquire().await.unwrap();
    sql_query("SELECT 1")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(log.lines(&["slow statement"]), [""; 0]);
}
