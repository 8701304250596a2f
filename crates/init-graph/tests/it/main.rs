//! The contract of the crate, one module a behaviour.

mod support;

mod cancelling;
mod failing;
#[cfg(feature = "macros")]
mod macros;
mod observing;
mod random_graphs;
mod reporting;
mod scale;
mod starting;
mod stopping;
mod threads;
mod wiring;
