//! Cancelling: a statement that nobody waits for any more ends on the server too, and its connection stays.
//!
//! Changes nothing in the database that `DATABASE_URL` names; run it with
//! `cargo run -p db-pool --features postgres --example 10_cancelling`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use db_pool::{Pool, PoolConfig, Postgres, TransactionOptions};
use diesel::result::Error as DbError;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::{Instant, timeout};

const START_ONE: &str = "docker run --rm -e POSTGRES_PASSWORD=secret -p 5432:5432 postgres, then \
    DATABASE_URL=postgres://postgres:secret@127.0.0.1/postgres";

#[derive(diesel::QueryableByName)]
struct Pid {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let url = std::env::var("DATABASE_URL").or_else(|_| std::env::var("TEST_DATABASE_URL"));
    let Ok(url) = url else {
        println!("skipped: no server is named. To start one: {START_ONE}");
        return Ok(());
    };
    // One connection, so that whoever comes next gets the one that was left in the middle.
    let config = PoolConfig {
        max_size: 1,
        lanes: 0,
        ..PoolConfig::web(url)
    };
    let pool = Pool::<Postgres>::connect(config).await?;
    let asked = sql_query("SELECT pg_backend_pid() AS pid");
    let first: Pid = asked.clone().get_result(&mut pool.acquire().await?).await?;

    // A request gives up after 200 ms: its future is dropped in the middle of a statement of a minute.
    let request = async {
        let mut connection = pool.acquire().await?;
        connection.batch_execute("SELECT pg_sleep(60)").await
    };
    assert!(timeout(Duration::from_millis(200), request).await.is_err());
    let begun = Instant::now();
    let next: Pid = asked.clone().get_result(&mut pool.acquire().await?).await?;
    println!(
        "a statement of 60 s was dropped; the next borrower has the connection after {:.0?}",
        begun.elapsed()
    );
    assert_eq!(first.pid, next.pid, "the same session");

    // The same in the middle of a transaction, which is rolled back before anybody gets the connection.
    let transaction = pool.transaction(TransactionOptions::default(), async |tx| {
        tx.on_rollback(|| println!("  told: rolled back"));
        tx.batch_execute("CREATE TEMPORARY TABLE half_done (id int)")
            .await?;
        tx.batch_execute("SELECT pg_sleep(60)").await?;
        Ok::<_, DbError>(())
    });
    assert!(
        timeout(Duration::from_millis(200), transaction)
            .await
            .is_err()
    );
    let left = sql_query("SELECT count(*) AS n FROM pg_class WHERE relname = 'half_done'");
    let count: Count = left.get_result(&mut pool.acquire().await?).await?;
    assert_eq!(count.n, 0, "nothing of it is there");

    let status = pool.status();
    println!(
        "{} recovered, {} discarded, {} opened since the start",
        status.recovered_total, status.discarded_total, status.connects_total
    );
    assert_eq!((status.recovered_total, status.connects_total), (2, 1));
    pool.close().await;
    Ok(())
}
