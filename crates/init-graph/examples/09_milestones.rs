//! Serving before everything is done: a milestone says when, the rest goes on in the background.
//!
//! Run it with `cargo run -p init-graph --example 09_milestones`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{Dep, Graph, Result};
use tokio::time::sleep;

struct Database;
struct Api;
struct WarmCache;

async fn database() -> Result<Database> {
    sleep(Duration::from_millis(100)).await;
    Ok(Database)
}

async fn api(_: Dep<Database>) -> Result<Api> {
    Ok(Api)
}

async fn warm_cache(_: Dep<Database>) -> Result<WarmCache> {
    sleep(Duration::from_millis(400)).await;
    Ok(WarmCache)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(database);
    graph.add(api);
    graph.add(warm_cache).background();
    graph.milestone("ready").needs::<Api>();
    graph.milestone("warm").needs::<WarmCache>();

    let running = graph.start_until("ready").await?;
    println!(
        "ready, the cache is warm: {}",
        running.get::<WarmCache>().is_some()
    );
    running.reached("warm").await?;
    println!(
        "warm,  the cache is warm: {}",
        running.get::<WarmCache>().is_some()
    );
    println!("{}", running.report());
    running.shutdown().await?;
    Ok(())
}
