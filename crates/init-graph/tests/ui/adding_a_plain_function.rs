//! Without the attribute: functions of the wrong colour.

use init_graph::{Dep, Graph, Result};

struct Config;
struct Database;

fn plain(_: Dep<Config>) -> Result<Database> {
    Ok(Database)
}

async fn colourful(_: Dep<Config>) -> Result<Database> {
    Ok(Database)
}

fn main() {
    let mut graph = Graph::new();
    graph.add(plain);
    graph.add_blocking(colourful);
}
