//! Two slow components start in parallel; the report shows it and names the chain that decided the time.
//!
//! Run it with `cargo run -p init-graph --example 02_parallel`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{Context, Dep, Event, Graph, Result};
use tokio::time::sleep;

struct Database;
struct Cache;
struct Api;

async fn database(cx: Context) -> Result<Database> {
    for step in 1..=3 {
        sleep(Duration::from_millis(50)).await;
        cx.progress(step, 3);
    }
    Ok(Database)
}

async fn cache() -> Result<Cache> {
    sleep(Duration::from_millis(200)).await;
    Ok(Cache)
}

async fn api(_: Dep<Database>, _: Dep<Cache>) -> Result<Api> {
    sleep(Duration::from_millis(30)).await;
    Ok(Api)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(api).stage("serve");
    graph.add(database).stage("storage");
    graph.add(cache).stage("storage");
    graph.observe(|event: &Event<'_>| match event {
        Event::Starting { node, .. } => println!("{} starts", node.name()),
        Event::Advanced {
            node,
            current,
            total: Some(total),
            ..
        } => {
            println!("{} is at {current} of {total}", node.name());
        }
        Event::Ready { node, took } => println!("{} is ready after {took:.0?}", node.name()),
        _ => {}
    });

    let running = graph.start().await?;
    println!("\n{}", running.report());
    running.shutdown().await?;
    Ok(())
}
