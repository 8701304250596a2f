//! Many rows: 10,000 of them inserted one by one and all at once, those that are there already, and all or none.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 12_many_rows`. On PostgreSQL the same call sends one
//! statement for 10,000 rows, whose text does not depend on their number.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use db_pool::{Pool, PoolConfig, Sqlite, TransactionOptions, insert_rows};
use diesel::prelude::*;
use diesel::result::Error as DbError;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::Instant;

use self::schema::readings;

mod schema {
    diesel::table! {
        readings (id) {
            id -> Integer,
            sensor -> Text,
            value -> Nullable<Double>,
        }
    }
}

const ROWS: i32 = 10_000;

fn rows() -> impl Iterator<Item = (i32, String, Option<f64>)> {
    (0..ROWS).map(|n| (n, format!("sensor {}", n % 7), (n % 10 > 0).then_some(0.5)))
}

async fn stored(pool: &Pool<Sqlite>) -> Result<i64, Box<dyn Error + Send + Sync>> {
    let mut lane = pool.read().await?;
    Ok(readings::table.count().get_result(&mut lane).await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/app.db", folder.path().display());
    let pool = Pool::<Sqlite>::connect(PoolConfig::embedded(file)).await?;
    let create =
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, sensor TEXT NOT NULL, value DOUBLE)";
    pool.acquire().await?.batch_execute(create).await?;

    // One statement after another, in one transaction.
    let begun = Instant::now();
    pool.transaction(TransactionOptions::default(), async |tx| {
        for (id, sensor, value) in rows() {
            let (id, sensor) = (readings::id.eq(id), readings::sensor.eq(sensor));
            diesel::insert_into(readings::table)
                .values((id, sensor, readings::value.eq(value)))
                .execute(tx)
                .await?;
        }
        Ok::<_, DbError>(())
    })
    .await?;
    println!("{ROWS} rows one by one:   {:.1?}", begun.elapsed());
    let mut connection = pool.acquire().await?;
    diesel::delete(readings::table)
        .execute(&mut connection)
        .await?;

    // All at once: one hop to the connection's thread, all or none.
    let columns = (readings::id, readings::sensor, readings::value);
    let begun = Instant::now();
    let inserted = insert_rows(columns, rows())
        .execute(&mut connection)
        .await?;
    println!("{inserted} rows all at once:  {:.1?}", begun.elapsed());
    assert_eq!(stored(&pool).await?, i64::from(ROWS));

    // Rows that are there already: an error and nothing stored, left out, or updated.
    let more = || [(ROWS, "new", None), (7, "known", Some(1.0))];
    let refused = insert_rows(columns, more()).execute(&mut connection).await;
    println!(
        "a row is there:         {}",
        refused.expect_err("7 is there")
    );
    assert_eq!(stored(&pool).await?, i64::from(ROWS), "none of them");
    let updated = insert_rows(columns, more())
        .on_conflict_update(readings::id)
        .execute(&mut connection)
        .await?;
    println!("updated or inserted:    {updated}");
    let left = insert_rows(columns, more())
        .on_conflict_do_nothing()
        .execute(&mut connection)
        .await?;
    println!("both are there now:     {left} inserted");
    assert_eq!((updated, left), (2, 0));

    drop(connection);
    pool.close().await;
    Ok(())
}
