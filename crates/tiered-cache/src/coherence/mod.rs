//! What keeps all tiers and replicas from serving what was invalidated: versions, floors, the log.

mod batch;
mod change;
mod floors;
mod follower;
mod invalidations;
mod ledger;
mod local_log;
mod local_record;
mod log;
mod marks;
mod outbox;
mod pending;
mod settle;
mod silence;
mod tail;
mod told;
mod unsure;
mod version;

pub use batch::{Batch, PrepareError};
pub(crate) use change::Change;
pub(crate) use floors::{CacheFloor, Floors};
pub use invalidations::{Invalidation, Invalidations};
pub(crate) use ledger::{Ledger, LedgerConfig, Ticket};
pub(crate) use local_log::LocalLog;
pub(crate) use log::{Epoch, Log, LogError, Page, Position, Record};
pub(crate) use marks::Marks;
pub use version::{Effect, Version};
pub(crate) use version::{Standing, Target, Token};

/// What the model checker replaces.
mod sync {
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic};
}

#[cfg(test)]
mod tests;
