//! Without the attribute: a parameter that no graph can provide.

use init_graph::{Dep, Graph, Result};

struct Config;
struct Database;

async fn database(_: Dep<Config>, _: Config) -> Result<Database> {
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
