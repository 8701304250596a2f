//! Cached plans on PostgreSQL: changed under way without an error to anybody, and never more of them than a bound.

use std::sync::atomic::{AtomicBool, Ordering};

use db_pool::{ErrorClass, Pool, Postgres};
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::postgres_support::Database;
use crate::support::Count;

diesel::table! {
    notes (id) {
        id -> Integer,
        text -> Text,
    }
}

async fn create(pool: &Pool<Postgres>) {
    let sql = "CREATE TABLE notes (id SERIAL PRIMARY KEY, text VARCHAR(20) NOT NULL); \
               INSERT INTO notes (text) VALUES ('one')";
    let mut connection = pool.acquire().await.unwrap();
    connection.batch_execute(sql).await.unwrap();
}

/// Each changes the type of a column, so that plans which read it go stale.
fn change(round: usize) -> String {
    format!(
        "ALTER TABLE notes ALTER COLUMN text TYPE VARCHAR({})",
        30 + round
    )
}

#[tokio::test]
async fn a_stale_plan_heals_without_an_error_outside_of_transactions() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (2, 0)).await;
    create(&pool).await;
    let mut one = pool.acquire().await.unwrap();
    let mut two = pool.acquire().await.unwrap();
    for round in 0..3 {
        for connection in [&mut one, &mut two] {
            let row = notes::table.find(1).first::<(i32, String)>(connection);
            assert_eq!(row.await, Ok((1, "one".into())), "round {round}");
            let added = diesel::insert_into(notes::table)
                .values(notes::text.eq("more"))
                .returning(notes::text)
                .get_result::<String>(connection);
            assert_eq!(added.await, Ok("more".into()), "round {round}");
        }
        sql_query(change(round)).execute(&mut one).await.unwrap();
    }
    let count = notes::table.count().get_result::<i64>(&mut one).await;
    assert_eq!(count, Ok(7), "nothing was done twice");
    drop((one, two));
    let status = pool.status();
    assert_eq!(
        (status.connects_total, status.recovered_total),
        (2, 0),
        "{status}"
    );
}

#[tokio::test]
async fn a_stale_plan_inside_a_transaction_is_an_error_once_in_the_pool() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (2, 0)).await;
    create(&pool).await;
    let mut one = pool.acquire().await.unwrap();
    let mut two = pool.acquire().await.unwrap();
    for connection in [&mut one, &mut two] {
        let row = notes::table.find(1).first::<(i32, String)>(connection);
        row.await.unwrap();
    }
    sql_query(change(0)).execute(&mut one).await.unwrap();
    let mut classes = Vec::new();
    for connection in [&mut one, &mut two] {
        let body = async |connection: &mut db_pool::Connection<Postgres>| {
            notes::table
                .find(1)
                .first::<(i32, String)>(connection)
                .await
        };
        let result = connection.transaction(body).await;
        classes.push(result.map_err(|error| ErrorClass::of(&error)).err());
    }
    assert_eq!(classes, [Some(ErrorClass::StalePlan), None]);
}

/// Stale plans are told from other errors of the same statement, which are not tried again.
#[tokio::test]
async fn other_errors_are_neither_hidden_nor_repeated() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    create(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let mut insert = async || {
        diesel::insert_into(notes::table)
            .values((notes::id.eq(1), notes::text.eq("again")))
            .execute(&mut connection)
            .await
    };
    for _ in 0..2 {
        let error = insert().await.unwrap_err();
        assert_eq!(ErrorClass::of(&error), ErrorClass::Constraint);
    }
    drop(connection);
    let sql = "SELECT last_value AS n FROM notes_id_seq";
    let mut next = pool.acquire().await.unwrap();
    assert_eq!(
        sql_query(sql).get_result(&mut next).await,
        Ok(Count { n: 1 })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_changes_under_load_are_noticed_by_nobody() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database
        .pool(|c| (c.max_size, c.max_waiting) = (6, 1000))
        .await;
    create(&pool).await;
    let counts: Vec<_> = (0..12).map(|_| watch::Sender::new(0_u32)).collect();
    let stop = AtomicBool::new(false);
    let reader = async |number: usize| {
        while !AtomicBool::load(&stop, Ordering::Relaxed) {
            let query = notes::table.find(1);
            let row: (i32, String) = if number.is_multiple_of(3) {
                let mut lane = pool.read().await.unwrap();
                query.first(&mut lane).await.unwrap()
            } else {
                let mut connection = pool.acquire().await.unwrap();
                query.first(&mut connection).await.unwrap()
            };
            assert_eq!(row.1, "one");
            counts[number].send_modify(|count| *count += 1);
        }
    };
    let changes = async {
        let connection = database.raw().await;
        for round in 0..20 {
            let sql = change(round);
            connection.batch_execute(&sql).await.unwrap();
            // Each reader has met this change before the next one comes.
            for count in &counts {
                let seen = *count.borrow();
                let mut news = count.subscribe();
                news.wait_for(|count| *count > seen + 1).await.unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all((0..12).map(reader)), changes);
    assert!(pool.status().connects_total >= 4);
}

#[tokio::test]
async fn the_cache_of_statements_is_emptied_before_it_grows_without_bound() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    create(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let prepared = "SELECT count(*) AS n FROM pg_prepared_statements";
    let mut most = 0;
    for shape in 0..1500 {
        let mut query = notes::table.select(notes::id).into_boxed();
        // The text differs by the number of conditions.
        for bit in 0..11 {
            if shape >> bit & 1 == 1 {
                query = match bit {
                    0 => query.filter(notes::id.ne(-1)),
                    1 => query.filter(notes::id.ne(-2).or(notes::id.eq(0))),
                    2 => query.filter(notes::text.ne("a")),
                    3 => query.filter(notes::text.ne("b").or(notes::id.eq(0))),
                    4 => query.filter(notes::id.gt(-5)),
                    5 => query.filter(notes::id.ge(-6)),
                    6 => query.filter(notes::text.is_not_null()),
                    7 => query.filter(notes::id.is_not_null()),
                    8 => query.filter(notes::id.lt(1_000)),
                    9 => query.filter(notes::id.le(1_001)),
                    _ => query.filter(notes::text.ne("c").and(notes::id.ne(-7))),
                };
            }
        }
        assert_eq!(query.load::<i32>(&mut connection).await, Ok(vec![1]));
        if shape % 100 == 99 {
            let count: Count = sql_query(prepared)
                .get_result(&mut connection)
                .await
                .unwrap();
            most = most.max(count.n);
        }
    }
    assert!((500..=1010).contains(&most), "{most} at most");
    assert_eq!(pool.status().connects_total, 1);
}

#[tokio::test]
async fn pipelined_statements_see_an_error_and_leave_the_connection_fit() {
    let Some(database) = Database::new().await else {
        return;
    };
    let pool = database.pool(|c| (c.max_size, c.lanes) = (1, 0)).await;
    create(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    for round in 0..2 {
        let mut shared: &AsyncPgConnection = &connection;
        let row = notes::table
            .find(1)
            .first::<(i32, String)>(&mut shared)
            .await;
        let class = row.map_err(|error| ErrorClass::of(&error)).err();
        assert_eq!(class, (round == 1).then_some(ErrorClass::StalePlan));
        sql_query(change(round))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let row = notes::table.find(1).first::<(i32, String)>(&mut connection);
    assert_eq!(row.await, Ok((1, "one".into())));
}
