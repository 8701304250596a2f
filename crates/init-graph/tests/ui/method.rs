//! A component is a function of its own.

use init_graph::{Dep, Result, component};

struct Config;
struct Database;

impl Database {
    #[component]
    async fn open(&self) -> Result<Database> {
        Ok(Database)
    }

    #[component]
    async fn connect(_: Dep<Config>) -> Result<Self> {
        Ok(Database)
    }
}

fn main() {}
