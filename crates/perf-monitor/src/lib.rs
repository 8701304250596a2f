#![doc = include_str!("../README.md")]

mod buckets;
mod config;
mod error;
mod facade;
mod families;
#[cfg(feature = "http")]
pub mod http;
mod monitor;
mod probe;
mod process;
mod snapshot;
mod tasks;
mod text;

pub use config::MonitorConfig;
pub use error::MonitorError;
pub use monitor::{LocalGuard, Monitor};
pub use probe::Sample;
pub use snapshot::{HttpSummary, OwnHealth, ProcessUsage, RouteSummary, ServiceInfo, Snapshot};
pub use text::PROMETHEUS_CONTENT_TYPE;

#[cfg(feature = "http")]
pub use http::PerfLayer;
