//! The call of a function instead of the function.

use init_graph::{Graph, Result};

struct Database;

async fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add(database());
}
