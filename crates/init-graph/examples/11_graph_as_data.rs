//! Jobs and their order from a table rather than from types: nodes by name, and the plan as a picture.
//!
//! Run it with `cargo run -p init-graph --example 11_graph_as_data`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{Context, Graph, Result};
use tokio::time::sleep;

/// Name, milliseconds, and what comes before.
const JOBS: [(&str, u64, &[&str]); 6] = [
    ("fetch", 60, &[]),
    ("schema", 30, &[]),
    ("parse", 40, &["fetch"]),
    ("load", 80, &["parse", "schema"]),
    ("index", 50, &["load"]),
    ("report", 20, &["load"]),
];

async fn job(milliseconds: u64, cx: Context) -> Result<()> {
    cx.message("working");
    sleep(Duration::from_millis(milliseconds)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    for (name, milliseconds, before) in JOBS {
        let node = graph.node(name);
        for earlier in before {
            node.after(*earlier);
        }
        node.run(move |cx: Context| job(milliseconds, cx));
    }
    println!("{}", graph.plan()?.to_mermaid());

    let running = graph.start().await?;
    println!("{}", running.report());
    running.shutdown().await?;
    Ok(())
}
