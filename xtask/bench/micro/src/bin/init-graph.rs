//! init-graph beside its peers.

fn main() {}
