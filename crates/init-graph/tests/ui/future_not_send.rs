//! A future that cannot move between threads is reported at the function, with the await and the value.

use std::rc::Rc;

use init_graph::{Graph, Result, component};

struct Database;

#[component]
async fn database() -> Result<Database> {
    let counter = Rc::new(0);
    tokio::task::yield_now().await;
    drop(counter);
    Ok(Database)
}

fn main() {
    Graph::new().add(database);
}
