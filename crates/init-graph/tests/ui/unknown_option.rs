//! An option that does not exist is an error that lists those that do.

use init_graph::{Graph, Result, component};

struct Database;

#[component(retries = 3)]
async fn database() -> Result<Database> {
    Ok(Database)
}

#[component("database")]
async fn named() -> Result<Database> {
    Ok(Database)
}

fn main() {
    let mut graph = Graph::new();
    graph.add(database);
    graph.add(named);
}
