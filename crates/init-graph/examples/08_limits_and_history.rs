//! Two at a time: the order then matters, and the graph learns it from its own earlier starts.
//!
//! Run it with `cargo run -p init-graph --features history --example 08_limits_and_history`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use init_graph::{BoxError, Class, Graph, Result};
use tokio::time::sleep;

/// Six imports of which the longest is added last; each opens a connection, and there are two.
fn graph(history: &std::path::Path) -> Graph {
    let mut graph = Graph::new();
    for (name, milliseconds) in [
        ("a", 100),
        ("b", 100),
        ("c", 100),
        ("d", 100),
        ("e", 100),
        ("long", 300),
    ] {
        graph
            .add(move || async move {
                sleep(Duration::from_millis(milliseconds)).await;
                Ok::<_, BoxError>(())
            })
            .named(name)
            .class(Class::new("connections"));
    }
    graph.limit(Class::new("connections"), 2);
    graph.history(history);
    graph
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let history = std::env::temp_dir().join(format!("starts-{}.jsonl", std::process::id()));
    for run in [
        "The first start knows nothing",
        "The second begins with what took long",
    ] {
        let running = graph(&history).start().await?;
        println!("{run}:\n{}\n", running.report());
        running.shutdown().await?;
    }
    std::fs::remove_file(&history)?;
    Ok(())
}
