//! Uses `init-graph` from a project of its own, as a stranger would.

use init_graph::{Dep, Graph, GraphError};

struct Greeting(String);

async fn greeting(name: Dep<String>) -> init_graph::Result<Greeting> {
    Ok(Greeting(format!("hello {}", *name)))
}

async fn start() -> Result<usize, GraphError> {
    let mut graph = Graph::new();
    graph.value("world".to_owned());
    graph.add(greeting).named("greeting");
    let running = graph.start().await?;
    Ok(running.get::<Greeting>().map_or(0, |greeting| greeting.0.len()))
}

fn main() {
    drop(start());
}
