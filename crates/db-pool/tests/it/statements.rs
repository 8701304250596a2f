//! Statements are measured by their form, and users' own instrumentation goes on hearing them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::InstrumentationEvent;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::sqlite_support::sqlite;

#[tokio::test]
async fn statements_are_counted_by_form_whatever_their_values() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    for id in 0..3_i64 {
        sql_query("INSERT INTO notes (id, text) VALUES (?, ?)")
            .bind::<BigInt, _>(id)
            .bind::<Text, _>("a secret")
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let inserted = sql_query("INSERT INTO notes (id, text) VALUES (1, 'other secret')")
        .execute(&mut connection)
        .await;
    assert!(inserted.is_err());
    connection
        .transaction(async |c| c.batch_execute("UPDATE notes SET text = 'x'").await)
        .await
        .unwrap();
    drop(connection);
    let mut seen: Vec<_> = pool
        .statements()
        .into_iter()
        .map(|one| (one.sql, one.summary, one.count, one.errors))
        .collect();
    seen.sort();
    let row = |sql: &str, summary: &str, count, errors| {
        (sql.to_owned(), summary.to_owned(), count, errors)
    };
    let expected = [
        row("BEGIN IMMEDIATE", "BEGIN", 1, 0),
        row("COMMIT", "COMMIT", 1, 0),
        row(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
            "CREATE",
            1,
            0,
        ),
        row(
            "INSERT INTO notes (id, text) VALUES (?, ..)",
            "INSERT notes",
            4,
            1,
        ),
        row("UPDATE notes SET text = ?", "UPDATE notes", 1, 0),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_users_instrumentation_hears_statements_beside_the_pool() {
    let (_folder, pool) = sqlite().await;
    let heard = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&heard);
    let mut connection = pool.acquire().await.unwrap();
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::FinishQuery { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    sql_query("SELECT 7")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(AtomicU64::load(&heard, Ordering::Relaxed), 1);
    let seen = pool.statements();
    assert!(
        seen.iter()
            .any(|one| one.sql == "SELECT ?" && one.count == 1)
    );
}

#[tokio::test]
async fn a_statement_dropped_unfinished_does_not_lend_its_time_to_the_next() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    drop(sql_query("SELECT 1 AS never_sent").execute(&mut connection));
    sql_query("SELECT 2 AS sent")
        .execute(&mut connection)
        .await
        .unwrap();
    let seen = pool.statements();
    let of = |sql: &str| seen.iter().find(|one| one.sql == sql).map(|one| one.count);
    assert_eq!(of("SELECT ? AS sent"), Some(1));
    assert_eq!(of("SELECT ? AS never_sent"), None);
}
