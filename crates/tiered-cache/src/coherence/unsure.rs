//! Batches that were dropped: their transaction may commit a moment later, so what they invalidated at
//! once is invalidated once more.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::Change;

/// A bounded queue, in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Unsure(Mutex<VecDeque<Dropped>>);

/// One dropped batch.
#[derive(Debug)]
pub(super) struct Dropped {
    pub(super) due: Instant,
    pub(super) changes: Vec<Change>,
    /// Under which it is on record.
    pub(super) intent: Option<u64>,
}

impl Unsure {
    /// Gives it back when there are too many.
    pub(super) fn add(&self, dropped: Dropped) -> Result<(), Dropped> {
        let mut queue = self.lock();
        let changes: usize = queue.iter().map(|one| one.changes.len()).sum();
        if queue.len() >= BATCHES_MAX || changes + dropped.changes.len() > CHANGES_MAX {
            return Err(dropped);
        }
        queue.push_back(dropped);
        Ok(())
    }

    /// One that is due.
    pub(super) fn next(&self, now: Instant) -> Option<Dropped> {
        let mut queue = self.lock();
        queue.front().filter(|first| first.due <= now)?;
        queue.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Dropped>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BATCHES_MAX: usize = 1024;
const CHANGES_MAX: usize = 65_536;
