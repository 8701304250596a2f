//! A component is async, or it says that it blocks.

use init_graph::{Graph, Result, component};

struct Database;

#[component]
fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
