//! An error has to be an error.

use init_graph::{Graph, component};

struct Database;
struct Refused;

#[component]
async fn database() -> Result<Database, Refused> {
    Err(Refused)
}

fn main() {
    Graph::new().add(database);
}
