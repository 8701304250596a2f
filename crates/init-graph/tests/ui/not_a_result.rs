//! A component says whether it worked.

use init_graph::{Graph, component};

struct Database;

#[component]
async fn database() -> Database {
    Database
}

#[component]
async fn migrate() {}

#[component]
async fn clock() -> impl Fn() -> u64 {
    || 0
}

fn main() {
    let mut graph = Graph::new();
    graph.add(database);
    graph.add(migrate);
    graph.add(clock);
}
