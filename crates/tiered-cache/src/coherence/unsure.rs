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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{BATCHES_MAX, CHANGES_MAX, Dropped, Unsure};
    use crate::coherence::{Change, Effect};

    fn dropped(due: Instant, changes: usize) -> Dropped {
        Dropped {
            due,
            changes: vec![Change::tag(1, Effect::Remove); changes],
            intent: Some(7),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_comes_out_once_and_nothing_comes_early() {
        let (unsure, now) = (Unsure::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        for due in [now, later] {
            assert!(unsure.add(dropped(due, 1)).is_ok());
        }
        assert_eq!(unsure.next(now).map(|one| one.due), Some(now));
        assert!(unsure.next(now).is_none());
        assert_eq!(unsure.next(later).map(|one| one.due), Some(later));
        assert!(unsure.next(later).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_are_given_back() {
        let (many, now) = (Unsure::default(), Instant::now());
        for _ in 0..BATCHES_MAX {
            assert!(many.add(dropped(now, 1)).is_ok());
        }
        let refused = many.add(dropped(now, 1)).map_err(|back| back.intent);
        assert_eq!(refused, Err(Some(7)));
        let long = Unsure::default();
        assert!(long.add(dropped(now, CHANGES_MAX)).is_ok());
        assert!(long.add(dropped(now, 1)).is_err());
    }
}
