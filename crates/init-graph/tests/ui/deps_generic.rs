//! A struct of parameters says which types it takes.

use init_graph::{Dep, Deps};

#[derive(Deps)]
struct Both<T> {
    one: Dep<T>,
}

#[derive(Deps)]
enum Either {
    One(Dep<String>),
}

fn main() {}
