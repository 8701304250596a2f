//! A scope counts the statements of one request, and finds those that it repeats.

use std::panic::AssertUnwindSafe;

use db_pool::{Connection, Scope, Sqlite};
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, RunQueryDsl};
use futures_util::FutureExt;

use crate::sqlite_support::{INSERT, sqlite};
use crate::support::Word;

async fn note(connection: &mut Connection<Sqlite>, id: i64) {
    sql_query("SELECT text AS word FROM notes WHERE id = ?")
        .bind::<BigInt, _>(id)
        .load::<Word>(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn five_reads_in_turn_with_other_values_are_an_n_plus_one() {
    let (_folder, pool) = sqlite().await;
    let scope = Scope::new();
    let mut connection = pool.acquire().await.unwrap();
    scope
        .run(async {
            for id in 0..4 {
                note(&mut connection, id).await;
            }
        })
        .await;
    scope.assert_no_n_plus_one();
    scope.run(note(&mut connection, 4)).await;
    let report = scope.report();
    assert_eq!((report.statements, report.duplicates.len()), (5, 0));
    assert_eq!(report.n_plus_ones[0].summary, "SELECT notes");
    let text = std::panic::catch_unwind(AssertUnwindSafe(|| scope.assert_no_n_plus_one()));
    let text = *text.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.contains("N+1: 5 times") && text.contains("`Pool::loader`"),
        "{text}"
    );
}

#[tokio::test]
async fn the_same_values_again_are_a_duplicate_unless_something_was_written() {
    let (_folder, pool) = sqlite().await;
    let scope = Scope::new();
    let mut connection = pool.acquire().await.unwrap();
    scope
        .run(async {
            note(&mut connection, 1).await;
            sql_query(INSERT).execute(&mut connection).await.unwrap();
            note(&mut connection, 1).await;
        })
        .await;
    assert_eq!(scope.report().duplicates, []);
    scope.run(note(&mut connection, 1)).await;
    let report = scope.report();
    assert_eq!(
        (report.duplicates[0].duplicates, report.duplicates[0].count),
        (1, 3)
    );
    scope.assert_no_n_plus_one();
}

#[tokio::test]
async fn a_scope_counts_its_own_statements_without_begin_and_end() {
    let (_folder, pool) = sqlite().await;
    let scope = Scope::new();
    let mut connection = pool.acquire().await.unwrap();
    note(&mut connection, 1).await;
    scope
        .run(connection.transaction(async |c| {
            sql_query(INSERT).execute(c).await?;
            sql_query("DELETE FROM notes").execute(c).await
        }))
        .await
        .unwrap();
    scope.assert_statements_at_most(2);
    assert_eq!(scope.report().statements, 2);
    let over = AssertUnwindSafe(async { scope.assert_statements_at_most(1) });
    assert!(over.catch_unwind().await.is_err());
}

#[tokio::test]
async fn concurrent_requests_do_not_see_each_others_statements() {
    let (_folder, pool) = sqlite().await;
    let (one, other) = (Scope::new(), Scope::new());
    let read = async |times: i64| {
        let mut lane = pool.read().await.unwrap();
        for id in 0..times {
            let query =
                sql_query("SELECT text AS word FROM notes WHERE id = ?").bind::<BigInt, _>(id);
            query.load::<Word>(&mut lane).await.unwrap();
        }
    };
    tokio::join!(one.run(read(3)), other.run(read(7)));
    assert_eq!((one.report().statements, other.report().statements), (3, 7));
    one.assert_no_n_plus_one();
    assert_eq!(other.report().n_plus_ones[0].in_turn, 7);
}
