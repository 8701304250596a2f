//! A value of a wrong kind is an error that shows how the option is written.

use init_graph::{Graph, Result, component};

trait Repo: Send + Sync {}
struct Config;
struct Database;

#[component(
    name = "",
    stage = storage,
    optional = true,
    class = 3,
    priority = "high",
    after = [],
    wire(Config),
    crate = "no path",
)]
async fn database() -> Result<Database> {
    Ok(Database)
}

#[component(wire(Config = "one", Database = "", Config = "two"))]
async fn wired() -> Result<u16> {
    Ok(0)
}

#[component(provide = dyn Repo)]
async fn repo() -> Result<Config> {
    Ok(Config)
}

#[component(when = |config: Config| true)]
async fn wanted() -> Result<u8> {
    Ok(0)
}

fn main() {
    let mut graph = Graph::new();
    graph.add(database);
    graph.add(wired);
    graph.add(repo);
    graph.add(wanted);
}
