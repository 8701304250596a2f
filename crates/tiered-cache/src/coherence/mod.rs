//! What keeps all tiers and replicas from serving what was invalidated: versions, floors, the log.

mod change;
mod floors;
mod log;
mod version;

pub(crate) use change::Change;
pub(crate) use floors::{CacheFloor, Floors, Marks};
pub(crate) use log::{Epoch, Log, LogError, Page, Record};
pub use version::{Effect, Version};
pub(crate) use version::{Standing, Target, Token};
