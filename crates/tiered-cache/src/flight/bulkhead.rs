//! How many loaders of one cache run at once: the others wait their turn, for so long and so many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::{Instant, timeout_at},
};

use crate::error::LoadError;

/// Turns are given in the order of asking.
#[derive(Debug)]
pub(crate) struct Bulkhead {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Bulkhead {
    /// `at_once` of 0 counts as 1.
    pub(crate) fn new(at_once: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes a turn, which ends when what is returned is dropped. Dropping the future gives up the place
    /// in the queue.
    ///
    /// # Errors
    /// [`LoadError::Overloaded`]: no turn until `deadline`, or 65,536 wait already.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, LoadError> {
        match Arc::clone(&self.turns).try_acquire_owned() {
            Ok(turn) => return Ok(turn),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(LoadError::Overloaded),
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return Err(LoadError::Overloaded);
        }
        match timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(LoadError::Overloaded),
        }
    }

    /// How many wait for a turn.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// One of those that wait, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Each holds a task and what its loader has captured.
const WAITING_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_until_the_deadline_is_told_so() {
        let bulkhead = Bulkhead::new(1);
        let deadline = Instant::now() + Duration::from_secs(5);
        let turn = bulkhead.enter(deadline).await.expect("a turn");
        let begun = Instant::now();
        let refused = bulkhead.enter(deadline).await;
        assert!(matches!(refused, Err(LoadError::Overloaded)));
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        drop(turn);
        assert!(
            bulkhead.enter(deadline).await.is_ok(),
            "a turn that is free needs no time"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_no_trace() {
        let bulkhead = Arc::new(Bulkhead::new(1));
        let deadline = Instant::now() + Duration::from_secs(5);
        let turn = bulkhead.enter(deadline).await.expect("a turn");
        let waiting = tokio::spawn({
            let bulkhead = Arc::clone(&bulkhead);
            async move { bulkhead.enter(deadline).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(bulkhead.waiting(), 1);
        waiting.abort();
        assert!(waiting.await.is_err());
        assert_eq!(bulkhead.waiting(), 0);
        drop(turn);
        assert!(bulkhead.enter(deadline).await.is_ok());
    }
}
