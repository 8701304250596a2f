//! A function that is async does not block.

use init_graph::{Graph, Result, component};

struct Database;

#[component(blocking)]
async fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add_blocking(database);
}
