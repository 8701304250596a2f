//! A value is shared between threads, so it has to be `Send` and `Sync`.

use std::cell::Cell;
use std::rc::Rc;

use init_graph::{Graph, Result, component};

struct Counter(Cell<u32>);

#[component]
async fn counter() -> Result<Counter> {
    Ok(Counter(Cell::new(0)))
}

#[component(blocking)]
fn list() -> Result<Rc<[u32]>> {
    Ok(Rc::new([]))
}

fn main() {
    let mut graph = Graph::new();
    graph.add(counter);
    graph.add_blocking(list);
}
