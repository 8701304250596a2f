//! How far a copy is: numbers that the copying thread raises and anybody reads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far taking or restoring a copy is; a cheap clone to keep while it works.
///
/// Counts bytes on SQLite and tables on PostgreSQL; the total is 0 until it is known.
#[derive(Clone, Debug, Default)]
pub struct BackupProgress(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    done: AtomicU64,
    total: AtomicU64,
}

impl BackupProgress {
    /// What is done so far, never more than [`total`](Self::total) once that is known.
    pub fn done(&self) -> u64 {
        let done = self.0.done.load(Relaxed);
        match self.total() {
            0 => done,
            total => done.min(total),
        }
    }

    /// What there is to do; 0 when that is not known yet. For SQLite an estimate from above.
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    pub(super) fn expect(&self, total: u64) {
        self.0.done.store(0, Relaxed);
        self.0.total.store(total, Relaxed);
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn reach(&self, done: u64) {
        self.0.done.fetch_max(done, Relaxed);
    }

    #[cfg(feature = "postgres")]
    pub(super) fn advance(&self) {
        self.0.done.fetch_add(1, Relaxed);
    }

    /// The estimate was from above.
    pub(super) fn finish_copy(&self) {
        self.0.done.store(self.total(), Relaxed);
    }
}

impl fmt::Display for BackupProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.done(), self.total()) {
            (_, 0) => f.write_str("starting"),
            (done, total) => write!(f, "{} %", done * 100 / total),
        }
    }
}
