//! First steps: open a pool, write with a connection, read with a lane, see who holds what, and close.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 01_first_steps`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use db_pool::{AcquireError, Pool, PoolConfig, Sqlite};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use self::schema::notes;

mod schema {
    diesel::table! {
        notes (id) {
            id -> Integer,
            text -> Text,
        }
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // A preset, changed at will. A folder that is not there shows here, and not as a time-out later.
    let missing = Pool::<Sqlite>::connect(PoolConfig::embedded("/nowhere/app.db")).await;
    println!("a bad path:   {}", missing.expect_err("no such folder"));
    let folder = tempfile::tempdir()?;
    let file = format!("{}/app.db", folder.path().display());
    let config = PoolConfig {
        max_size: 3, // the writer and two readers
        ..PoolConfig::embedded(file)
    };
    let pool = Pool::<Sqlite>::connect(config).await?;

    // A connection may write; it goes back when it is dropped.
    let mut connection = pool.acquire().await?;
    connection
        .batch_execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        .await?;
    let rows = diesel::insert_into(notes::table)
        .values(notes::text.eq("hello"))
        .execute(&mut connection)
        .await?;
    println!("written:      {rows} row");

    // The writer is still borrowed. Reading does not wait for it.
    let mut lane = pool.read().await?;
    let text: String = notes::table.select(notes::text).first(&mut lane).await?;
    println!("read:         {text:?}");

    // A lane cannot write; it says what can.
    let refused = diesel::delete(notes::table).execute(&mut lane).await;
    println!("on a lane:    {}", refused.expect_err("a lane only reads"));
    drop(lane);

    // There is one writer, and we hold it: the error names us and the line above.
    let second = pool.acquire_within(Duration::from_millis(20)).await;
    let error = second.expect_err("the writer is out");
    println!("exhausted:    {error}");
    assert!(matches!(error, AcquireError::Exhausted { .. }) && error.is_timeout());

    println!("status:       {:#}", pool.status());
    drop(connection);
    println!("left open:    {}", pool.close().await);
    let closed = pool.read().await;
    assert!(closed.is_err_and(|error| error.is_closed()));
    Ok(())
}
