//! What the previous advice of a pool has counted, so that the next one tells what happened since.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::input::TableNumbers;

/// What earlier advice of the same pool has seen, to tell what happened since.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Option<Sample>>);

#[derive(Clone)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) tables: Vec<TableNumbers>,
}

impl Memory {
    /// Keeps the sample, unless the one before is so young that nothing can have happened; returns the one before.
    pub(super) fn exchange(&self, tables: &[TableNumbers], at: Instant) -> Option<Sample> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.clone();
        let old = |it: &Sample| at.saturating_duration_since(it.at) >= SAMPLE_INTERVAL;
        if before.as_ref().is_none_or(old) {
            let tables = tables.to_vec();
            *kept = Some(Sample { at, tables });
        }
        before
    }
}

/// What was counted less than this ago is no basis for another count.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);
