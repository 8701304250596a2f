//! A component has to be async.

use init_graph::{Result, component};

struct Database;

#[component]
fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {}
