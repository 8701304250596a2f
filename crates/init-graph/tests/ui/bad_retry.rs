//! A retry is two attempts or more, and waits that fit together.

use init_graph::{Result, component};

struct A;
struct B;
struct C;
struct D;
struct E;
struct F;
struct G;

#[component(retry = 0)]
async fn a() -> Result<A> {
    Ok(A)
}

#[component(retry(attempts = 1, initial = "1s"))]
async fn b() -> Result<B> {
    Ok(B)
}

#[component(retry(attempts = 3, initial = "10s", max_delay = "5s"))]
async fn c() -> Result<C> {
    Ok(C)
}

#[component(retry(initial = "10ms"))]
async fn d() -> Result<D> {
    Ok(D)
}

#[component(retry(attempts = 3, jitter = 50))]
async fn e() -> Result<E> {
    Ok(E)
}

#[component(retry(attempts = 3, initial = "30s"))]
async fn f() -> Result<F> {
    Ok(F)
}

#[component(retry = "often")]
async fn g() -> Result<G> {
    Ok(G)
}

fn main() {}
