//! A time is a whole number and a unit, and not zero.

use init_graph::{Result, component};

struct Database;

#[component(timeout = "5 parsecs", total_timeout = "0s", stop_timeout = 5, expected = "0ms", stall_timeout)]
async fn database() -> Result<Database> {
    Ok(Database)
}

fn main() {}
