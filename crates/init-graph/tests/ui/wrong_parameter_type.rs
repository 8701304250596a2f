//! A parameter that no graph can provide is reported at that parameter.

use init_graph::{Dep, Graph, Result, component};

struct Config;
struct Database;

#[component]
async fn database(config: Config, _name: Dep<String>, _port: Option<u16>) -> Result<Database> {
    let _ = config;
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
