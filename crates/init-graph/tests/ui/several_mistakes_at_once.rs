//! Every mistake in a signature is reported at its own place.

use init_graph::component;

#[component]
async fn database<T>(config: &str, clock: impl Fn() -> T) {}

fn main() {}
