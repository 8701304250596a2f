//! Five seconds and ten seconds that take ten in all: two slow components start at once, and the report shows it.
//!
//! Every second of the story is a tenth of one here. Run it with `cargo run -p init-graph --example 02_two_at_once`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{Context, Dep, Event, Graph, Result};
use tokio::time::sleep;

struct Database;
struct Model;
struct Api;

async fn database(cx: Context) -> Result<Database> {
    for step in 1..=5 {
        sleep(Duration::from_millis(100)).await;
        cx.progress(step, 5);
    }
    Ok(Database)
}

async fn model() -> Result<Model> {
    sleep(Duration::from_millis(1000)).await;
    Ok(Model)
}

async fn api(_: Dep<Database>, _: Dep<Model>) -> Result<Api> {
    Ok(Api)
}

fn graph() -> Graph {
    let mut graph = Graph::new();
    graph.add(api).stage("serve");
    graph.add(database).stage("storage");
    graph.add(model).stage("compute");
    graph
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    println!("One after another:");
    let mut serial = graph();
    serial.concurrency(1);
    let running = serial.start().await?;
    let before = running.report().took();
    println!("{}\n", running.report());
    running.shutdown().await?;

    println!("As soon as each can:");
    let mut parallel = graph();
    parallel.observe(|event: &Event<'_>| match event {
        Event::Starting { node, .. } => println!("  {} starts", node.name()),
        Event::Ready { node, took } => println!("  {} is ready after {took:.0?}", node.name()),
        _ => {}
    });
    let running = parallel.start().await?;
    let after = running.report().took();
    println!("{}\n", running.report());
    running.shutdown().await?;

    println!("{before:.2?} became {after:.2?}");
    Ok(())
}
