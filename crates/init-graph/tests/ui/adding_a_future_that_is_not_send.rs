//! Without the attribute: a future that cannot move between threads.

use std::rc::Rc;

use init_graph::{Graph, Result};

struct Database;

async fn database() -> Result<Database> {
    let counter = Rc::new(0);
    tokio::task::yield_now().await;
    drop(counter);
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
