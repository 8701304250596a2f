//! The contract of perf-monitor, by behaviour; one binary so that it links once.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, like the tests"
)]

mod config;
mod exposition;
mod facade;
#[cfg(feature = "axum")]
mod http_axum;
#[cfg(feature = "http")]
mod http_outcomes;
#[cfg(feature = "axum")]
mod http_sockets;
mod install;
mod probes;
mod process;
#[cfg(feature = "axum")]
mod router;
#[cfg(feature = "axum")]
mod snapshot;
