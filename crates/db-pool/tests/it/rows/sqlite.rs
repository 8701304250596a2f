//! On SQLite: one hop to the thread, all or none.

use db_pool::{ErrorClass, Pool, Sqlite, TransactionOptions, insert_rows};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use tempfile::TempDir;

use super::{CREATE, Thing, many, some, things};
use crate::sqlite_support::{abandon_a_statement, sqlite};

const COLUMNS: (things::id, things::count, things::name, things::good) =
    (things::id, things::count, things::name, things::good);

async fn with_things() -> (TempDir, Pool<Sqlite>) {
    let (folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(CREATE).await.unwrap();
    drop(connection);
    (folder, pool)
}

async fn count(pool: &Pool<Sqlite>) -> i64 {
    let mut lane = pool.read().await.unwrap();
    things::table.count().get_result(&mut lane).await.unwrap()
}

#[tokio::test]
async fn all_values_arrive_as_they_were() {
    let (_folder, pool) = with_things().await;
    let mut connection = pool.acquire().await.unwrap();
    let rows = some();
    let borrowed = rows.iter().map(|(id, count, name, good, weight, note)| {
        (*id, *count, name.as_str(), *good, *weight, note.as_deref())
    });
    let inserted = insert_rows(things::all_columns, borrowed).execute(&mut connection);
    assert_eq!(inserted.await, Ok(3));
    let read = things::table.order(things::id.desc());
    let mut read = read.load::<Thing<String>>(&mut connection).await.unwrap();
    read.swap(0, 1);
    assert_eq!(read, rows);
}

#[tokio::test]
async fn ten_thousand_rows_none_and_those_that_are_there_already() {
    let (_folder, pool) = with_things().await;
    let mut connection = pool.acquire().await.unwrap();
    let none = insert_rows(COLUMNS, many(0)).execute(&mut connection).await;
    assert_eq!(none, Ok(0));
    let all = insert_rows(COLUMNS, many(10_000)).execute(&mut connection);
    assert_eq!(all.await, Ok(10_000));
    let insert = insert_rows(COLUMNS, many(10_002));
    let error = insert.execute(&mut connection).await.unwrap_err();
    assert_eq!(ErrorClass::of(&error), ErrorClass::Constraint);
    let insert = insert_rows(COLUMNS, many(10_002)).on_conflict_do_nothing();
    assert_eq!(insert.execute(&mut connection).await, Ok(2));
    let renamed = (0..3).map(|n| (n, 1, format!("{n} again"), true));
    let insert = insert_rows(COLUMNS, renamed).on_conflict_update(things::id);
    assert_eq!(insert.execute(&mut connection).await, Ok(3));
    let first = things::table.find(0).select((things::count, things::name));
    let first = first.first::<(i64, String)>(&mut connection).await;
    assert_eq!(first, Ok((1, "0 again".to_owned())));
}

#[tokio::test]
async fn rows_are_inserted_all_or_none_also_inside_of_a_transaction() {
    let (_folder, pool) = with_things().await;
    let twice = || many(5).chain(many(1));
    let mut connection = pool.acquire().await.unwrap();
    let inserted = insert_rows(COLUMNS, twice()).execute(&mut connection);
    assert!(inserted.await.is_err());
    drop(connection);
    assert_eq!(count(&pool).await, 0);
    let options = TransactionOptions::default();
    let inside = pool.transaction(options, async move |tx| {
        insert_rows(COLUMNS, many(2)).execute(tx).await?;
        let failed = insert_rows(COLUMNS, twice()).execute(tx).await;
        assert!(failed.is_err());
        Ok::<_, diesel::result::Error>(())
    });
    inside.await.unwrap();
    assert_eq!(count(&pool).await, 2, "what came before stays");
}

#[tokio::test]
async fn dropped_before_its_turn_it_inserts_nothing() {
    let (_folder, pool) = with_things().await;
    let mut connection = pool.acquire().await.unwrap();
    let release = abandon_a_statement(&mut connection).await;
    let mut insert = Box::pin(insert_rows(COLUMNS, many(3)).execute(&mut connection));
    assert!(insert.as_mut().now_or_never().is_none());
    drop(insert);
    drop(connection);
    release.send(()).unwrap();
    // The writer comes back when all that was queued on its thread is over.
    drop(pool.acquire().await.unwrap());
    assert_eq!(count(&pool).await, 0);
}
