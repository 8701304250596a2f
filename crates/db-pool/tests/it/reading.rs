//! Lanes: many at once, reading only, never behind the writer.

use db_pool::TransactionOptions;
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::sqlite_support::{INSERT, notes, sqlite, sqlite_with};
use crate::support::{Count, Word};

diesel::table! {
    notes (id) {
        id -> Integer,
        text -> Text,
    }
}

#[tokio::test]
async fn a_lane_loads_rows_through_the_query_builder() {
    let (_folder, pool) = sqlite().await;
    let mut connection = pool.acquire().await.unwrap();
    for text in ["a", "b", "c"] {
        let insert = diesel::insert_into(notes::table).values(notes::text.eq(text));
        assert_eq!(insert.execute(&mut connection).await, Ok(1));
    }
    let returned = diesel::update(notes::table.find(1))
        .set(notes::text.eq("A"))
        .returning(notes::text);
    assert_eq!(
        returned.get_result(&mut connection).await,
        Ok("A".to_owned())
    );
    drop(connection);
    let mut lane = pool.read().await.unwrap();
    let query = notes::table
        .filter(notes::text.gt("a"))
        .order(notes::id.desc());
    let rows: Vec<(i32, String)> = query.load(&mut lane).await.unwrap();
    assert_eq!(rows, [(3, "c".to_owned()), (2, "b".to_owned())]);
    let one: Option<String> = notes::table
        .find(9)
        .select(notes::text)
        .first(&mut lane)
        .await
        .optional()
        .unwrap();
    assert_eq!(one, None);
}

#[tokio::test]
async fn readers_do_not_wait_for_the_writer() {
    let (_folder, pool) = sqlite().await;
    let counted = pool
        .transaction(TransactionOptions::default(), async |connection| {
            sql_query(INSERT).execute(connection).await?;
            Ok::<_, diesel::result::Error>(notes(&pool).await)
        })
        .await;
    assert_eq!(counted, Ok(0), "a reader sees what was committed");
}

#[tokio::test]
async fn as_many_lanes_as_readers_are_lent_at_once() {
    let (_folder, pool) = sqlite_with(|c| c.readers = Some(3)).await;
    let lanes = futures_util::future::join_all((0..3).map(|_| pool.read())).await;
    assert!(lanes.iter().all(Result::is_ok));
    assert_eq!((pool.status().in_use, pool.status().max_size), (3, 4));
    let mut fourth = Box::pin(pool.read());
    assert!(futures_util::FutureExt::now_or_never(fourth.as_mut()).is_none());
    drop(lanes);
    assert!(fourth.await.is_ok());
}

#[tokio::test]
async fn a_lane_cannot_write() {
    let (_folder, pool) = sqlite().await;
    let mut lane = pool.read().await.unwrap();
    let execute = sql_query(INSERT).execute(&mut lane).await.unwrap_err();
    assert!(
        execute.to_string().contains("a lane only loads rows"),
        "{execute}"
    );
    let batch = lane.batch_execute("BEGIN").await.unwrap_err();
    assert!(
        batch.to_string().contains("a lane only loads rows"),
        "{batch}"
    );
    let returning = sql_query("INSERT INTO notes (text) VALUES ('x') RETURNING id AS n");
    let loaded = returning.get_result::<Count>(&mut lane).await.unwrap_err();
    assert!(loaded.to_string().contains("readonly"), "{loaded}");
    drop(lane);
    assert_eq!(notes(&pool).await, 0);
}

#[tokio::test]
async fn connections_are_set_up_for_concurrent_use() {
    let (_folder, pool) = sqlite().await;
    let mut lane = pool.read().await.unwrap();
    let setting = async |lane: &mut _, sql: &str| {
        sql_query(sql)
            .get_result::<Word>(lane)
            .await
            .map(|row| row.word)
    };
    let journal = "SELECT journal_mode AS word FROM pragma_journal_mode";
    assert_eq!(setting(&mut lane, journal).await, Ok("wal".to_owned()));
    for (pragma, value) in [
        ("foreign_keys", 1),
        ("query_only", 1),
        ("synchronous", 1),
        ("cache_size", -2000),
    ] {
        let sql = format!("SELECT {pragma} AS n FROM pragma_{pragma}");
        let count: Count = sql_query(sql).get_result(&mut lane).await.unwrap();
        assert_eq!(count.n, value, "{pragma}");
    }
    let busy: Count = sql_query("SELECT timeout AS n FROM pragma_busy_timeout")
        .get_result(&mut lane)
        .await
        .unwrap();
    assert_eq!(busy.n, 5000);
}
