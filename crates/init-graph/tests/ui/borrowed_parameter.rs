//! A component outlives the call that added it, so it borrows nothing.

use init_graph::{Dep, Graph, Result, component};

struct Config;
struct Database;

#[component]
async fn database(
    config: &Config,
    name: Dep<&str>,
    made: Dep<&'static str>,
    hook: Dep<dyn Fn(&str) -> &str + Send + Sync>,
) -> Result<Database> {
    let _ = (config, name, made, hook);
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
