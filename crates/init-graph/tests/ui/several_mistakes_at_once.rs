//! Every mistake in a signature is reported at its own place.

use init_graph::component;

#[component]
async fn database<T>(_config: &str, _clock: impl Fn() -> T) {}

fn main() {}
