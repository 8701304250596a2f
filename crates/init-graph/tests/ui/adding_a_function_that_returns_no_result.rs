//! Without the attribute: a function that does not say whether it worked.

use init_graph::Graph;

struct Database;

async fn database() -> Database {
    Database
}

fn main() {
    Graph::new().add(database);
}
