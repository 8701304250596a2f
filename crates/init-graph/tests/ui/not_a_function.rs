//! The attribute is for functions.

use init_graph::component;

#[component]
struct Database;

fn main() {
    let _ = Database;
}
