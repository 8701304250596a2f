//! Micro benches: subjects and their peers take turns in short rounds within one process, so that what disturbs the
//! machine disturbs all of them alike.

mod metric;

pub mod stats;

pub use metric::{Metric, MetricError};
