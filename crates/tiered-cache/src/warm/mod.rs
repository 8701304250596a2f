//! Loading ahead of reads: warming after a start, on a schedule, and keys that are read after others. The
//! decisions are plain values that take the time; what carries them out is small.

mod hot_keys;
mod manifest;
mod options;
mod prefetch;
mod report;
mod run;
mod schedule;
mod successors;

pub(crate) use hot_keys::HotKeys;
pub(crate) use manifest::{KEYS_MAX, Manifest, Section};
pub use options::{WarmOptions, WarmProgress, WarmWatch};
pub(crate) use prefetch::{Ahead, Prefetched};
pub use report::{WarmFailure, WarmReport};
pub(crate) use run::{Warmed, warm};
pub use schedule::WarmSchedule;
pub(crate) use successors::Successors;
