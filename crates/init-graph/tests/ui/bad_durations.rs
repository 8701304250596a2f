//! A time limit is a whole number and a unit, and not zero.

use init_graph::{Result, component};

struct A;
struct B;
struct C;

#[component(timeout = "5 parsecs")]
async fn a() -> Result<A> {
    Ok(A)
}

#[component(timeout = "0s")]
async fn b() -> Result<B> {
    Ok(B)
}

#[component(stop_timeout = 5)]
async fn c() -> Result<C> {
    Ok(C)
}

fn main() {}
