#![doc = include_str!("../README.md")]

mod config;
mod cursor;
mod health;
mod life;
mod progress;
mod readiness;
mod snapshot;
mod state;
mod step;

#[cfg(feature = "init-graph")]
mod graph;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "terminal")]
pub mod terminal;

pub use config::ProgressConfig;
pub use cursor::{Cursor, CursorError};
pub use health::Health;
pub use progress::Progress;
pub use readiness::Readiness;
pub use snapshot::{
    CheckSnapshot, CheckStatus, Delta, FORMAT_VERSION, Snapshot, StepSnapshot, StepStatus, Update,
};
pub use step::Step;

#[cfg(feature = "init-graph")]
pub use graph::GraphObserver;
