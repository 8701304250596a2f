//! Times that contradict each other are an error.

use init_graph::{Result, component};

struct Database;
struct Cache;

#[component(name = "database", timeout = "10s", total_timeout = "5s", after = ["config", "database"])]
async fn database() -> Result<Database> {
    Ok(Database)
}

#[component(timeout = "1s", stall_timeout = "2s", expected = "3s")]
async fn cache() -> Result<Cache> {
    Ok(Cache)
}

fn main() {}
