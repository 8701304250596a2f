#![doc = include_str!("../README.md")]

mod http;
mod load;
mod mix;
mod outcome;
mod run;
mod schedule;
mod server;
mod stop;
mod suggest;
mod summary;
mod target;
mod threshold;

pub mod cli;

pub use load::{Arrivals, Load, LoadError, Model};
pub use mix::{Check, Mix, MixError, Picker, Prepared};
pub use outcome::{ErrorClass, Generator, Invalid, Outcome, RouteOutcome, Second};
pub use run::{RunError, run};
pub use server::{LogTail, Sample, Server, ServerConfig, ServerError, Stopped, Usage};
pub use stop::Stop;
pub use summary::{Cap, LatencySummary, RouteSummary, ServerSummary, Summary, TimelineRow};
pub use target::{Target, TargetError};
pub use threshold::{Threshold, ThresholdError};
