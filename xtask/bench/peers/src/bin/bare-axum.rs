//! A bare axum handler.

fn main() {}
