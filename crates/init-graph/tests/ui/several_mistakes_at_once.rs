//! Every mistake in options and signature is reported at its own place, and none twice.

use init_graph::{Graph, component};

#[component(timeout = 5, optinal)]
async fn database<T>(_config: &str, _clock: impl Fn() -> T) {}

fn main() {
    Graph::new().add(database);
}
