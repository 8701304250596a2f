//! A start with a few steps, drawn on the terminal.

fn main() {}
