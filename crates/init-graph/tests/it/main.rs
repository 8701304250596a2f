//! The contract of the crate, one module a behaviour.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside of `#[test]` functions, fail the test"
)]

mod pairing;
mod support;

mod cancelling;
mod conditions;
mod cycles;
#[cfg(feature = "macros")]
mod deps;
mod failing;
#[cfg(feature = "testing")]
mod faults;
mod handoff;
#[cfg(feature = "history")]
mod history;
mod hostile;
mod lazy;
#[cfg(feature = "history")]
mod learning;
mod limits;
mod live;
#[cfg(feature = "macros")]
mod macro_options;
#[cfg(feature = "macros")]
mod macros;
mod milestones;
#[cfg(feature = "testing")]
mod model;
mod named;
mod observing;
mod panics;
mod plan;
#[cfg(feature = "testing")]
mod random_graphs;
mod reporting;
mod restarting;
mod restarts_that_fail;
mod retrying;
mod scale;
#[cfg(feature = "signals")]
mod signals;
mod starting;
mod stopping;
#[cfg(feature = "testing")]
mod stress;
mod telemetry;
#[cfg(feature = "testing")]
mod test_kit;
#[cfg(feature = "testing")]
mod test_kit_runs;
mod threads;
mod wiring;
#[cfg(feature = "testing")]
mod world;
