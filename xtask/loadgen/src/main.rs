//! Entry point of `loadgen`.

fn main() {}
