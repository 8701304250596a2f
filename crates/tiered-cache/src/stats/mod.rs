//! What is counted: on a hit without touching anything that another thread writes, for `CacheStats` and
//! for the `metrics` facade.

mod histogram;
mod meter;
mod names;
mod snapshot;
mod stripes;
mod tallies;

pub(crate) use meter::{LoadOutcome, Meter, Outcome, Size};
pub(crate) use snapshot::{Bytes, Grouped, seconds};
pub use snapshot::{CacheStats, LoadTimes, TierStats};
pub(crate) use tallies::Published;
