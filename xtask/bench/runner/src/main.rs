//! Entry point of the program behind `cargo xtask bench`.

fn main() {}
