//! The smallest graph: a value, a component that needs it, and a clean stop.
//!
//! Run it with `cargo run -p init-graph --example 01_hello`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use init_graph::{Context, Dep, Graph, Result};

struct Config {
    name: String,
}

struct Greeter {
    greeting: String,
}

async fn greeter(config: Dep<Config>, cx: Context) -> Result<Greeter> {
    cx.on_stop(|| async {
        println!("goodbye");
        Ok(())
    });
    Ok(Greeter {
        greeting: format!("hello, {}", config.name),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut graph = Graph::new();
    graph.add(greeter);
    graph.value(Config {
        name: "world".to_owned(),
    });
    println!("{}\n", graph.plan()?);

    let running = graph.start().await?;
    let greeter: Option<Dep<Greeter>> = running.get();
    println!("{}", greeter.ok_or("the greeter was added above")?.greeting);

    running.shutdown().await?;
    Ok(())
}
