//! Micro benches whose subjects take turns within one process.
//!
#![doc = include_str!("../README.md")]

mod bench;
mod calibrate;
mod cli;
mod cores;
mod exit;
mod figures;
mod measure;
mod metric;
mod prepared;
mod run;
mod suite;
mod table;
mod work;

pub mod stats;

pub use bench::Bench;
pub use exit::Exit;
pub use figures::{Allocated, Effort, Figures, Set};
pub use metric::{Metric, MetricError};
pub use run::{main, run};
pub use suite::Suite;
