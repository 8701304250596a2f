//! Status and health: who holds connections, what takes time, what readiness should say, and what a closer look finds.
//!
//! Run it with `cargo run -p db-pool --features sqlite --example 08_health`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use db_pool::{HealthState, Pool, PoolConfig, Sqlite};
use diesel_async::SimpleAsyncConnection;
use tokio::time::sleep;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let config = PoolConfig {
        name: "orders".into(),
        ..PoolConfig::embedded(format!("{}/app.db", folder.path().display()))
    };
    let pool = Pool::<Sqlite>::connect(config).await?;

    // For readiness: never waits, and asks the database once a second in the background.
    println!("health:  {}", pool.health());
    while pool.health().checked_ago.is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    println!("health:  {}", pool.health());
    assert_eq!(pool.health().state, HealthState::Up);

    // Some work, and a connection held across something that is no query.
    for id in 0..50 {
        let mut connection = pool.acquire().await?;
        let sql = format!("CREATE TABLE IF NOT EXISTS t{} (id INTEGER)", id % 3);
        connection.batch_execute(&sql).await?;
    }
    let mut held = pool.acquire().await?;
    held.batch_execute("SELECT 1").await?;
    sleep(Duration::from_millis(40)).await;

    // `{:#}` says who holds connections now, and how much of the time they worked.
    println!("\n{:#}\n", pool.status());
    drop(held);
    for site in pool.call_sites() {
        let share = site.query_share().unwrap_or_default() * 100.0;
        println!(
            "borrowed at {}: {} times, {share:.0} % of it for statements",
            site.at, site.holds
        );
    }

    // For an administrator: asks the database itself.
    println!("\n{}\n", pool.health_report().await);

    // A planned pause: callers wait, health says so if asked through, nothing is lost.
    pool.suspend();
    let waiting = pool.acquire_within(Duration::from_millis(20)).await;
    println!("suspended: {}", waiting.expect_err("nothing is lent"));
    pool.resume();
    drop(pool.acquire().await?);

    pool.close().await;
    println!("health:  {}", pool.health());
    assert!(!pool.health().is_ready());
    Ok(())
}
