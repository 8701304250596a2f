#![doc = include_str!("../README.md")]

mod affinity;
mod http;
mod load;
mod mix;
#[cfg(any(feature = "cache", feature = "db"))]
mod operations;
mod outcome;
mod run;
mod schedule;
mod screen;
mod server;
mod stop;
mod suggest;
mod summary;
mod target;
mod threshold;
mod units;

#[cfg(feature = "cache")]
pub mod cache;
pub mod cli;
#[cfg(feature = "db")]
pub mod db;

pub use http::{Answer, get};
pub use load::{Arrivals, Load, LoadError, Model};
pub use mix::{Check, Mix, MixError, Picker, Prepared};
#[cfg(any(feature = "cache", feature = "db"))]
pub use operations::Measured;
pub use outcome::{ErrorClass, Generator, Invalid, Outcome, RouteOutcome};
pub use run::{RunError, run};
pub use server::{LogTail, Sample, Server, ServerConfig, ServerError, Stopped, Usage};
pub use stop::Stop;
pub use summary::{
    Cap, LatencySummary, RouteSummary, ServerSummary, Summary, TimelineRow, Watched,
};
pub use target::{Target, TargetError};
pub use threshold::{Checked, Threshold, ThresholdError};
