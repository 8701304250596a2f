//! Transactions: what commits and what rolls back, who is told of it, and what is run again when others are in the way.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 02_transactions`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use db_pool::{ErrorClass, Pool, PoolConfig, Sqlite, TransactionOptions};
use diesel::prelude::*;
use diesel::result::Error as DbError;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::sync::mpsc;

use self::schema::accounts;

mod schema {
    diesel::table! {
        accounts (id) {
            id -> Integer,
            money -> Integer,
        }
    }
}

async fn pool_on(file: &str) -> Result<Pool<Sqlite>, Box<dyn Error + Send + Sync>> {
    let config = PoolConfig {
        // So that being in each other's way shows within this example.
        lock_timeout: Some(Duration::from_millis(200)),
        ..PoolConfig::embedded(file)
    };
    Ok(Pool::connect(config).await?)
}

/// Moves money, or fails and moves none.
async fn transfer(pool: &Pool<Sqlite>, from: i32, to: i32, amount: i32) -> Result<u32, DbError> {
    let row = |id| accounts::table.find(id);
    pool.transaction(TransactionOptions::default(), async move |tx| {
        tx.on_commit(move || println!("  told: {amount} went from {from} to {to}"));
        tx.on_rollback(move || println!("  told: nothing went from {from} to {to}"));
        diesel::update(row(from))
            .set(accounts::money.eq(accounts::money - amount))
            .execute(tx)
            .await?;
        diesel::update(row(to))
            .set(accounts::money.eq(accounts::money + amount))
            .execute(tx)
            .await?;
        Ok(tx.attempt())
    })
    .await
}

async fn shown(pool: &Pool<Sqlite>) -> Result<Vec<i32>, Box<dyn Error + Send + Sync>> {
    let mut lane = pool.read().await?;
    let query = accounts::table.order(accounts::id).select(accounts::money);
    Ok(query.load(&mut lane).await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let file = format!("{}/bank.db", folder.path().display());
    let pool = pool_on(&file).await?;
    pool.acquire()
        .await?
        .batch_execute(
            "CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER NOT NULL CHECK (money >= 0));
             INSERT INTO accounts VALUES (1, 100), (2, 100)",
        )
        .await?;

    println!("Ok commits:");
    transfer(&pool, 1, 2, 30).await?;
    println!("  {:?}", shown(&pool).await?);

    println!("Err rolls back, here a broken rule:");
    let error = transfer(&pool, 1, 2, 1_000).await.expect_err("too much");
    println!("  {:?}: {error}", ErrorClass::of(&error));
    assert_eq!(shown(&pool).await?, [70, 130]);

    println!("A dropped future rolls back too, and its connection is not lost:");
    let (told, mut heard) = mpsc::channel(1);
    let abandoned = pool.transaction(TransactionOptions::default(), async move |tx| {
        tx.on_end(move |outcome| {
            // Fails only if nobody listens any more.
            let _ = told.try_send(outcome);
        });
        diesel::delete(accounts::table).execute(tx).await?;
        // The client went away while we waited for something else.
        pending::<Result<(), DbError>>().await
    });
    let gone = tokio::time::timeout(Duration::from_millis(50), abandoned).await;
    assert!(gone.is_err());
    println!("  told: {:?}", heard.recv().await);
    assert_eq!(shown(&pool).await?, [70, 130]);
    drop(pool.acquire().await?);
    let status = pool.status();
    println!(
        "  {} recovered, {} discarded",
        status.recovered_total, status.discarded_total
    );

    println!("Another process writes: the transaction is run again, as a whole:");
    let other = pool_on(&file).await?;
    let mut writing = other.acquire().await?;
    writing.batch_execute("BEGIN IMMEDIATE").await?;
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { transfer(&pool, 2, 1, 30).await }
    });
    tokio::time::sleep(Duration::from_millis(250)).await;
    writing.batch_execute("COMMIT").await?;
    let attempt = waiting.await??;
    println!(
        "  attempt {attempt} went through: {:?}",
        shown(&pool).await?
    );

    drop(writing);
    other.close().await;
    pool.close().await;
    Ok(())
}
