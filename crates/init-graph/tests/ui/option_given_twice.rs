//! An option can be given once.

use init_graph::{Graph, Result, component};

struct Database;

#[component(optional, name = "database", optional)]
async fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
