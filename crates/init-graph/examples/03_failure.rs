//! What a failure looks like: a wrong graph before anything runs, then a component that fails and the rollback.
//!
//! Run it with `cargo run -p init-graph --example 03_failure`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use init_graph::{Context, Dep, Graph, Result};
use tokio::time::sleep;

struct Database;
struct Cache;
struct Api;

async fn database(cx: Context) -> Result<Database> {
    // Registered as soon as there is something to undo, so that it also runs when a later step fails.
    cx.on_stop(|| async {
        println!("database: closed");
        Ok(())
    });
    Ok(Database)
}

async fn cache(_: Dep<Database>) -> Result<Cache> {
    sleep(Duration::from_millis(20)).await;
    Err("connection refused".into())
}

async fn api(_: Dep<Cache>, _: Dep<Database>) -> Result<Api> {
    Ok(Api)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut wrong = Graph::new();
    wrong.add(api);
    wrong.add(cache);
    if let Err(error) = wrong.check() {
        println!("A graph that cannot start:\n{error}\n");
    }

    let mut graph = Graph::new();
    graph.add(api);
    graph.add(cache);
    graph.add(database);
    println!("A component that fails:");
    match graph.start().await {
        Ok(running) => println!("{}", running.report()),
        Err(error) => {
            println!("{error}");
            if let Some(source) = error.source() {
                println!("  because: {source}");
            }
            if let Some(rollback) = error.rollback() {
                println!("  {rollback}");
            }
        }
    }
}
