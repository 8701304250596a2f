//! Whether waiting makes sense at all: how long connections are usually held, and what that means for the next in line.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The usual time that a connection is held: a moving average over the last few dozen borrowers.
///
/// Written without a lock: of two that return in the same nanosecond one may be forgotten.
pub(crate) struct UsualHold {
    nanos: AtomicU64,
    seen: AtomicU64,
}

impl UsualHold {
    pub(crate) fn new() -> Self {
        Self {
            nanos: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, held: Duration) {
        let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
        let seen = self.seen.load(Relaxed);
        let before = self.nanos.load(Relaxed);
        // The first ones count as much as they are many; later ones a sixteenth each.
        let weight = (seen + 1).min(WEIGHT);
        let after = before - before / weight + held / weight;
        self.nanos.store(after, Relaxed);
        if seen < ENOUGH {
            self.seen.store(seen + 1, Relaxed);
        }
    }

    /// `None` until enough was seen to tell.
    pub(crate) fn get(&self) -> Option<Duration> {
        (self.seen.load(Relaxed) >= ENOUGH).then(|| Duration::from_nanos(self.nanos.load(Relaxed)))
    }

    /// How long somebody waits who has `ahead` others before it, while `size` connections are held.
    pub(crate) fn wait(&self, ahead: usize, size: u32) -> Option<Duration> {
        let turns = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX)) + 1.0;
        Some(self.get()?.mul_f64(turns / f64::from(size.max(1))))
    }
}

const WEIGHT: u64 = 16;
/// A guess from fewer returns could turn callers away for one slow statement.
const ENOUGH: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_the_usual_hold_times_the_turns_that_the_queue_takes() {
        let usual = UsualHold::new();
        for seen in 0..40 {
            assert_eq!(usual.get().is_some(), seen >= 32, "after {seen}");
            usual.record(Duration::from_millis(100));
        }
        let wait = |ahead, size| usual.wait(ahead, size).map(|wait| wait.as_millis());
        assert_eq!(wait(0, 10), Some(10));
        assert_eq!(wait(99, 10), Some(1000));
        assert_eq!(wait(0, 0), Some(100));
    }

    #[test]
    fn one_long_hold_is_forgotten_after_a_few_short_ones() {
        let usual = UsualHold::new();
        (0..32).for_each(|_| usual.record(Duration::from_millis(1)));
        usual.record(Duration::from_secs(60));
        (0..100).for_each(|_| usual.record(Duration::from_millis(1)));
        assert!(
            usual.get() < Some(Duration::from_millis(10)),
            "{:?}",
            usual.get()
        );
    }
}
