//! On PostgreSQL: one cached statement, in chunks.

use std::time::{Duration, SystemTime};

use db_pool::{ErrorClass, Pool, Postgres, TransactionOptions, insert_rows};
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use super::{CREATE, Thing, many, some, things};
use crate::postgres_support::Database;
use crate::support::{Count, eventually};

diesel::table! {
    other.moments (at) {
        at -> Timestamp,
        raw -> Binary,
        kind -> Nullable<crate::rows::postgres::kinds::Kind>,
    }
}

mod kinds {
    #[expect(unnameable_types, reason = "diesel's macro makes public what names it")]
    #[derive(Debug, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "kind", schema = "other"))]
    pub struct Kind;
}

#[derive(Debug, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = kinds::Kind)]
struct Kind(String);

impl diesel::serialize::ToSql<kinds::Kind, diesel::pg::Pg> for Kind {
    fn to_sql<'b>(
        &'b self,
        out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
    ) -> diesel::serialize::Result {
        std::io::Write::write_all(out, self.0.as_bytes())?;
        Ok(diesel::serialize::IsNull::No)
    }
}

impl diesel::deserialize::FromSql<kinds::Kind, diesel::pg::Pg> for Kind {
    fn from_sql(value: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
        Ok(Self(String::from_utf8(value.as_bytes().to_vec())?))
    }
}

const COLUMNS: (things::id, things::count, things::name, things::good) =
    (things::id, things::count, things::name, things::good);

async fn alone(database: &Database) -> Pool<Postgres> {
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(CREATE).await.unwrap();
    drop(connection);
    pool
}

async fn count(pool: &Pool<Postgres>) -> i64 {
    let mut connection = pool.acquire().await.unwrap();
    let count = things::table.count().get_result(&mut connection);
    count.await.unwrap()
}

#[tokio::test]
async fn all_values_arrive_as_they_were() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let mut connection = pool.acquire().await.unwrap();
    let inserted = insert_rows(things::all_columns, some()).execute(&mut connection);
    assert_eq!(inserted.await, Ok(3));
    let read = things::table.load::<Thing<String>>(&mut connection).await;
    assert_eq!(read, Ok(some()));

    let create = "CREATE SCHEMA other; CREATE TYPE other.kind AS ENUM ('good', 'bad');
        CREATE TABLE other.moments (at TIMESTAMP PRIMARY KEY, raw BYTEA NOT NULL, kind other.kind)";
    connection.batch_execute(create).await.unwrap();
    let row = |n: u64, kind: Option<&str>| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        (at, vec![n as u8; 3], kind.map(|kind| Kind(kind.into())))
    };
    let rows = || {
        vec![
            row(1, Some("bad")),
            row(2, None),
            row(1 << 33, Some("good")),
        ]
    };
    let inserted = insert_rows(moments::all_columns, rows()).execute(&mut connection);
    assert_eq!(inserted.await, Ok(3), "types of one's own as well");
    let read = moments::table.load(&mut connection).await;
    assert_eq!(read, Ok(rows()));
}

#[tokio::test]
async fn any_number_of_rows_is_one_cached_statement() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let mut connection = pool.acquire().await.unwrap();
    for rows in [10_000, 1, 500] {
        let insert = insert_rows(COLUMNS, many(rows)).chunk(3_000);
        let inserted = insert.execute(&mut connection).await.unwrap();
        assert_eq!(inserted, rows as usize);
        let all = diesel::delete(things::table).execute(&mut connection).await;
        assert_eq!(all, Ok(inserted));
    }
    let prepared = sql_query(
        "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'",
    );
    let prepared = prepared.get_result(&mut connection).await;
    assert_eq!(prepared, Ok(Count { n: 1 }));
}

#[tokio::test]
async fn without_rows_nothing_is_sent() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    let mut connection = pool.acquire().await.unwrap();
    // There is no such table.
    let inserted = insert_rows(COLUMNS, many(0)).execute(&mut connection).await;
    assert_eq!(inserted, Ok(0));
    let inserted = insert_rows(COLUMNS, many(1)).execute(&mut connection).await;
    assert!(inserted.is_err());
}

#[tokio::test]
async fn large_rows_are_spread_over_statements() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let mut connection = pool.acquire().await.unwrap();
    let counted = "CREATE TABLE statements (n BIGINT);
        CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS
            'BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END';
        CREATE TRIGGER note AFTER INSERT ON \"odd \"\" things\" EXECUTE FUNCTION note()";
    connection.batch_execute(counted).await.unwrap();
    let large = "x".repeat(1 << 20);
    let rows = (0..20).map(|n| (n, 0, n.to_string(), true, None::<f64>, Some(large.clone())));
    let inserted = insert_rows(things::all_columns, rows).execute(&mut connection);
    assert_eq!(inserted.await, Ok(20));
    let statements = sql_query("SELECT sum(n)::bigint AS n FROM statements");
    let statements = statements.get_result(&mut connection).await;
    assert_eq!(statements, Ok(Count { n: 4 }), "twenty halved twice");
}

#[tokio::test]
async fn rows_that_are_there_already_fail_stay_or_change() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let mut connection = pool.acquire().await.unwrap();
    let insert = insert_rows(COLUMNS, [(7, 7, "7 before".to_owned(), true)]);
    assert_eq!(insert.execute(&mut connection).await, Ok(1));
    let insert = insert_rows(COLUMNS, many(10)).chunk(5);
    let error = insert.execute(&mut connection).await.unwrap_err();
    assert_eq!(ErrorClass::of(&error), ErrorClass::Constraint);
    drop(connection);
    assert_eq!(count(&pool).await, 6, "the first chunk is inserted");

    let mut connection = pool.acquire().await.unwrap();
    let insert = insert_rows(COLUMNS, many(10)).on_conflict_do_nothing();
    assert_eq!(insert.execute(&mut connection).await, Ok(4));
    let insert = insert_rows(COLUMNS, many(12)).on_conflict_update(things::id);
    assert_eq!(insert.execute(&mut connection).await, Ok(12));
    let seven = things::table.find(7).select(things::name);
    assert_eq!(seven.first(&mut connection).await, Ok("7".to_owned()));
}

#[tokio::test]
async fn in_a_transaction_all_chunks_are_there_or_none() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let insert = async |rows: i32| {
        let options = TransactionOptions::default();
        pool.transaction(options, async move |tx| {
            insert_rows(COLUMNS, many(rows)).chunk(5).execute(tx).await
        })
        .await
    };
    assert_eq!(insert(12).await.unwrap(), 12);
    let mut connection = pool.acquire().await.unwrap();
    let rest = diesel::delete(things::table.filter(things::id.lt(10)));
    assert_eq!(rest.execute(&mut connection).await, Ok(10));
    drop(connection);
    assert!(insert(20).await.is_err());
    assert_eq!(count(&pool).await, 2);
}

#[tokio::test]
async fn dropped_while_it_waits_for_a_lock_it_inserts_nothing_and_the_connection_stays() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = alone(&database).await;
    let other = database.raw().await;
    let lock = "BEGIN; LOCK TABLE \"odd \"\" things\" IN EXCLUSIVE MODE";
    other.batch_execute(lock).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    let insert = insert_rows(COLUMNS, many(1000)).execute(&mut connection);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = $database AND wait_event_type = 'Lock'";
    let waits = async { while database.count(waiting).await == 0 {} };
    tokio::select! {
        biased;
        result = insert => panic!("the table is locked: {result:?}"),
        () = waits => {}
    }
    drop(connection);
    eventually("the connection is repaired", || {
        pool.status().recovered_total == 1
    })
    .await;
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(count(&pool).await, 0);
    assert_eq!(pool.status().connects_total, 1);
}
