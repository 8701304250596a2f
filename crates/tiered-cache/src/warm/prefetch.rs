//! Loading ahead: few at a time, never waited for, and counted when it was worth it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// The bulkhead of loads that nobody waits for: [`AT_ONCE`] run, [`WAITING`] wait for their turn, and
/// more are turned away, because a value that comes late was not ahead.
#[derive(Debug, Clone)]
pub(crate) struct Ahead {
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Ahead {
    /// Its loads run as tasks of `tasks`.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self {
            room: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tasks,
        }
    }

    /// Runs `load` in the background if there is room, and says whether there is; outside of a runtime
    /// there is none.
    pub(crate) fn begin<F>(&self, load: F) -> bool
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return false;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return false;
        };
        let turns = Arc::clone(&self.turns);
        let load = async move {
            // Never closed, so it always comes.
            let turn = turns.acquire().await;
            // Whoever is ready to run now goes first.
            tokio::task::yield_now().await;
            load.await;
            drop((turn, room));
        };
        drop(self.tasks.spawn_on(load, &runtime));
        true
    }
}

/// Which keys were loaded ahead and not read since; of 4,096 places, so a key may push out another, whose
/// read then goes uncounted. 32 KiB.
pub(crate) struct Prefetched {
    places: Box<[AtomicU64]>,
}

impl Prefetched {
    pub(crate) fn new() -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The key with this hash was loaded ahead.
    pub(crate) fn note(&self, hash: u64) {
        self.place(hash).store(hash, Ordering::Relaxed);
    }

    /// Whether this is the first read of a key that was loaded ahead. Costs one load for all other keys.
    #[inline]
    pub(crate) fn read(&self, hash: u64) -> bool {
        let place = self.place(hash);
        place.load(Ordering::Relaxed) == hash
            && place
                .compare_exchange(hash, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.places[hash as usize % PLACES]
    }
}

impl fmt::Debug for Prefetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetched").finish_non_exhaustive()
    }
}

const AT_ONCE: usize = 8;
const WAITING: usize = 56;
const PLACES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use tokio::time::sleep;
    use tokio_util::task::TaskTracker;

    use super::{AT_ONCE, Ahead, PLACES, Prefetched, WAITING};

    #[tokio::test(start_paused = true)]
    async fn few_run_at_once_some_wait_and_the_rest_is_turned_away() {
        let ahead = Ahead::new(TaskTracker::new());
        let done = Arc::new(AtomicU64::new(0));
        let load = || {
            let done = Arc::clone(&done);
            ahead.begin(async move {
                sleep(Duration::from_millis(10)).await;
                done.fetch_add(1, Ordering::Relaxed);
            })
        };
        let begun = (0..AT_ONCE + WAITING + 5).filter(|_| load()).count();
        assert_eq!(begun, AT_ONCE + WAITING);
        sleep(Duration::from_millis(11)).await;
        assert_eq!(done.load(Ordering::Relaxed), AT_ONCE as u64);
        assert!(load());
        sleep(Duration::from_secs(1)).await;
        assert_eq!(done.load(Ordering::Relaxed), begun as u64 + 1);
    }

    #[test]
    fn a_key_loaded_ahead_counts_once() {
        let prefetched = Prefetched::new();
        let (a, b) = (7, 7 + PLACES as u64);
        prefetched.note(a);
        assert_eq!(
            [b, a, a].map(|hash| prefetched.read(hash)),
            [false, true, false]
        );
        prefetched.note(a);
        prefetched.note(b);
        assert_eq!([a, b].map(|hash| prefetched.read(hash)), [false, true]);
    }
}
