//! The contract of the crate, one module per behaviour.

#![expect(clippy::unwrap_used, reason = "in a test, to panic is to report")]

mod bounds;
mod checks;
mod events;
#[cfg(feature = "init-graph")]
mod graph;
mod json;
mod probes;
mod readiness;
mod resume;
mod steps;
mod support;
mod terminal;
