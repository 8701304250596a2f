//! Transactions: run as a whole and again where that helps; who must know of the end learns it before the caller.

mod bound;
mod commit;
mod error;
mod handle;
mod hooks;
mod metrics;
mod options;
mod retry;
mod run;

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

pub use self::bound::AsyncFunc;
pub use self::error::TransactionError;
pub use self::handle::Transaction;
pub use self::hooks::{HookError, Outcome, TransactionHook};
pub use self::options::{Isolation, TransactionOptions};

/// What the transactions of one pool share.
pub(crate) struct Transactions {
    pub(crate) hooks: hooks::PoolHooks,
    budget: retry::Budget,
    metrics: metrics::Metrics,
    track_lsn: AtomicBool,
}

impl Transactions {
    pub(crate) fn new(pool: &str) -> Self {
        Self {
            hooks: hooks::PoolHooks::default(),
            budget: retry::Budget::new(Instant::now()),
            metrics: metrics::Metrics::new(pool),
            track_lsn: AtomicBool::new(false),
        }
    }

    /// From now on every commit of the pool learns its place in the log, whatever its options say.
    fn track_lsn(&self) {
        self.track_lsn.store(true, Ordering::Relaxed);
    }

    fn tracks_lsn(&self, options: &TransactionOptions) -> bool {
        !options.read_only && (options.track_lsn || self.track_lsn.load(Ordering::Relaxed))
    }
}
