//! Micro benches: subjects and their peers take turns in short rounds within one process, so that what disturbs the
//! machine disturbs all of them alike.

mod bench;
mod calibrate;
mod cli;
mod exit;
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
pub use metric::{Metric, MetricError};
pub use run::{main, run};
pub use suite::Suite;
