#![doc = include_str!("../README.md")]

mod config;
mod cursor;
mod health;
mod progress;
mod readiness;
mod snapshot;
mod state;
mod step;

#[cfg(feature = "http")]
pub mod http;

pub use config::ProgressConfig;
pub use cursor::{Cursor, CursorError};
pub use health::Health;
pub use progress::Progress;
pub use readiness::Readiness;
pub use snapshot::{
    CheckSnapshot, CheckStatus, Delta, FORMAT_VERSION, Snapshot, StepSnapshot, StepStatus, Update,
};
pub use step::Step;
