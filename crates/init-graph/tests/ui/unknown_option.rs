//! An option that does not exist is an error that lists those that do.

use init_graph::{Result, component};

struct Database;

#[component(retries = "3")]
async fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {}
