//! What makes a result invalid, and what does not, on SQLite.

use std::sync::Arc;

use db_pool::{Pool, Scope, Sqlite, TransactionOptions};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::notes;
use crate::sqlite_support::{INSERT, sqlite, sqlite_with};

/// The number of notes, through the cache.
async fn counted(pool: &Pool<Sqlite>) -> i64 {
    pool.cached(notes::table.count()).first().await.unwrap()
}

async fn run(pool: &Pool<Sqlite>, sql: &str) {
    let mut connection = pool.acquire().await.unwrap();
    sql_query(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_result_is_kept_until_a_table_behind_it_is_written() {
    let (_folder, pool) = sqlite().await;
    let rows = async || {
        let query = notes::table.order(notes::id);
        pool.cached(query).load::<(i32, String)>().await.unwrap()
    };
    let first = rows().await;
    assert!(Arc::ptr_eq(&first, &rows().await), "kept");
    run(&pool, "CREATE TABLE others (id INTEGER PRIMARY KEY)").await;
    let second = rows().await;
    run(&pool, "INSERT INTO others DEFAULT VALUES").await;
    assert!(Arc::ptr_eq(&second, &rows().await), "another table");
    run(&pool, INSERT).await;
    assert_eq!(*rows().await, [(1, "x".to_owned())]);
    let stats = pool.query_cache().stats();
    assert_eq!((stats.hits, stats.misses), (2, 3));
}

#[tokio::test]
async fn a_commit_is_seen_and_a_rollback_changes_nothing() {
    let (_folder, pool) = sqlite().await;
    assert_eq!(counted(&pool).await, 0);
    let failed: Result<(), Error> = pool
        .transaction(TransactionOptions::default(), async |tx| {
            sql_query(INSERT).execute(tx).await?;
            Err(Error::RollbackTransaction)
        })
        .await;
    assert_eq!(failed, Err(Error::RollbackTransaction));
    assert_eq!(counted(&pool).await, 0);
    assert_eq!(pool.query_cache().stats().hits, 1, "still there");
    let done: Result<(), Error> = pool
        .transaction(TransactionOptions::default(), async |tx| {
            sql_query(INSERT).execute(tx).await?;
            Ok(())
        })
        .await;
    assert_eq!(done, Ok(()));
    assert_eq!(counted(&pool).await, 1);
}

#[tokio::test]
async fn what_is_not_seen_as_statements_is_seen_as_a_write() {
    let (_folder, pool) = sqlite().await;
    assert_eq!(counted(&pool).await, 0);
    let mut connection = pool.acquire().await.unwrap();
    connection
        .with_sync(|sync| {
            use diesel::connection::SimpleConnection;
            sync.batch_execute(INSERT)
        })
        .await
        .unwrap();
    assert_eq!(counted(&pool).await, 1, "while it is held");
    drop(connection);
    assert_eq!(counted(&pool).await, 1);
    let mut connection = pool.acquire().await.unwrap();
    let batch = format!("BEGIN; {INSERT}; COMMIT; BEGIN; {INSERT}");
    connection.batch_execute(&batch).await.unwrap();
    assert_eq!(counted(&pool).await, 2);
    connection.batch_execute("COMMIT").await.unwrap();
    assert_eq!(counted(&pool).await, 3);
}

#[tokio::test]
async fn cascades_views_and_triggers_are_followed() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    let schema = "
        CREATE TABLE comments (
            id INTEGER PRIMARY KEY, note INTEGER REFERENCES notes ON DELETE CASCADE);
        CREATE TABLE log (id INTEGER PRIMARY KEY);
        CREATE VIEW commented AS SELECT note AS id FROM comments;
        CREATE TRIGGER logged AFTER DELETE ON comments BEGIN INSERT INTO log VALUES (NULL); END;
        INSERT INTO notes VALUES (1, 'a'), (2, 'b');
        INSERT INTO comments VALUES (1, 1), (2, 2);";
    connection.batch_execute(schema).await.unwrap();
    drop(connection);
    let seen = async |table: &str| {
        let sql = format!("SELECT count(*) AS n FROM \"{table}\"");
        let count: crate::support::Count = pool.cached(sql_query(sql)).first().await.unwrap();
        count.n
    };
    for (table, count) in [("comments", 2), ("commented", 2), ("log", 0)] {
        assert_eq!((seen(table).await, seen(table).await), (count, count));
    }
    assert_eq!(pool.query_cache().stats().hits, 3);
    run(&pool, "DELETE FROM notes WHERE id = 1").await;
    for (table, count) in [("comments", 1), ("Commented", 1), ("log", 1)] {
        assert_eq!(seen(table).await, count, "{table}");
    }
}

#[tokio::test]
async fn a_scope_that_has_written_reads_past_the_cache_until_its_transaction_ends() {
    let (_folder, pool) = sqlite().await;
    assert_eq!(counted(&pool).await, 0);
    let scope = Scope::new();
    let inside: Result<(), Error> = scope
        .run(pool.transaction(TransactionOptions::default(), async |tx| {
            assert_eq!(counted(&pool).await, 0);
            assert_eq!(pool.query_cache().stats().hits, 1, "nothing written yet");
            sql_query(INSERT).execute(tx).await?;
            assert_eq!(counted(&pool).await, 0);
            assert_eq!(pool.query_cache().stats().bypasses, 1);
            Ok(())
        }))
        .await;
    assert_eq!(inside, Ok(()));
    assert_eq!(scope.run(counted(&pool)).await, 1);
    assert_eq!(scope.run(counted(&pool)).await, 1);
    assert_eq!(pool.query_cache().stats().hits, 2);
}

#[tokio::test]
async fn what_differs_in_values_tenant_or_row_type_is_kept_apart() {
    let (_folder, pool) = sqlite_with(|_| {}).await;
    run(&pool, "INSERT INTO notes (text) VALUES ('a'), ('b')").await;
    for _ in 0..2 {
        for (id, text) in [(1, "a"), (2, "b")] {
            let query = notes::table.find(id).select(notes::text);
            let found: Option<String> = pool.cached(query).optional().await.unwrap();
            assert_eq!(found.as_deref(), Some(text));
        }
    }
    let typed = || sql_query("SELECT 7 AS n, 'seven' AS word");
    let number: crate::support::Count = pool.cached(typed()).first().await.unwrap();
    let word: crate::support::Word = pool.cached(typed()).first().await.unwrap();
    assert_eq!((number.n, &*word.word), (7, "seven"));
    let before = pool.query_cache().stats();
    for tenant in ["one", "two", "one"] {
        let read = pool.cached(notes::table.count()).key_part(tenant);
        assert_eq!(read.first::<i64>().await.unwrap(), 2);
    }
    let after = pool.query_cache().stats();
    assert_eq!(
        (after.hits, after.misses),
        (before.hits + 1, before.misses + 2)
    );
}

#[tokio::test]
async fn what_is_not_understood_is_asked_each_time() {
    let (_folder, pool) = sqlite().await;
    for sql in [
        "SELECT abs(random()) AS n",
        "SELECT count(*) AS n FROM sqlite_schema",
        "SELECT timeout AS n FROM pragma_busy_timeout",
    ] {
        for _ in 0..2 {
            pool.cached(sql_query(sql))
                .first::<crate::support::Count>()
                .await
                .unwrap();
        }
    }
    let stats = pool.query_cache().stats();
    assert_eq!((stats.bypasses, stats.hits, stats.entries), (6, 0, 0));
    let declared = || {
        pool.cached(sql_query("SELECT abs(random()) AS n"))
            .tables(["Notes"])
    };
    let first: crate::support::Count = declared().first().await.unwrap();
    assert_eq!(
        declared().first::<crate::support::Count>().await.unwrap(),
        first
    );
    run(&pool, INSERT).await;
    assert_ne!(
        declared().first::<crate::support::Count>().await.unwrap(),
        first
    );
}

#[tokio::test]
async fn an_abandoned_write_is_seen() {
    let (_folder, pool) = sqlite().await;
    assert_eq!(counted(&pool).await, 0);
    let mut connection = pool.acquire().await.unwrap();
    let release = crate::sqlite_support::abandon_a_statement(&mut connection).await;
    let mut insert = Box::pin(sql_query(INSERT).execute(&mut connection));
    assert!(futures_util::FutureExt::now_or_never(insert.as_mut()).is_none());
    drop(insert);
    drop(connection);
    drop(release);
    // Whoever borrows the writer next waits for its repair, and so knows what became of the statement.
    let mut connection = pool.acquire().await.unwrap();
    run_on(&mut connection).await;
    let truth: i64 = notes::table
        .count()
        .get_result(&mut connection)
        .await
        .unwrap();
    drop(connection);
    assert_eq!(counted(&pool).await, truth);
}

async fn run_on(connection: &mut db_pool::Connection<Sqlite>) {
    sql_query(INSERT).execute(connection).await.unwrap();
}
