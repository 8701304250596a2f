//! How long values may be served while the shared log gives no answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::millis;

/// When the log was last heard of. Times are unix milliseconds.
#[derive(Debug)]
pub(super) struct Silence {
    heard: AtomicU64,
    /// When the silence began, [`NONE`] while there is none.
    since: AtomicU64,
    after_ms: u64,
    degraded_ms: u64,
}

impl Silence {
    pub(super) fn new(now: u64, after: Duration, degraded_ttl: Duration) -> Self {
        Self {
            heard: AtomicU64::new(now),
            since: AtomicU64::new(NONE),
            after_ms: millis(after),
            degraded_ms: millis(degraded_ttl),
        }
    }

    /// The log answered, and all that it said is applied.
    pub(super) fn heard(&self, now: u64) {
        self.heard.store(now, Ordering::Relaxed);
        self.since.store(NONE, Ordering::Relaxed);
    }

    /// Looks whether the log has been silent for too long; `true` when that began just now.
    pub(super) fn check(&self, now: u64) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let silent = now.saturating_sub(heard) >= self.after_ms;
        silent && self.since.swap(heard, Ordering::Relaxed) == NONE
    }

    /// Nobody will answer any more: the silence began with the last answer, unless it had before.
    pub(super) fn begin(&self) {
        let heard = self.heard.load(Ordering::Relaxed);
        let _ = self
            .since
            .compare_exchange(NONE, heard, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// When the silence began.
    pub(super) fn since(&self) -> Option<u64> {
        let since = self.since.load(Ordering::Relaxed);
        (since != NONE).then_some(since)
    }

    /// Until when a value that was filled at `filled` may be served: nobody tells of what changes from
    /// the beginning of the silence on, and for what is filled later, from its fill on.
    #[inline]
    pub(super) fn served_until(&self, filled: u64) -> u64 {
        match self.since.load(Ordering::Relaxed) {
            NONE => u64::MAX,
            since => since.max(filled).saturating_add(self.degraded_ms),
        }
    }
}

const NONE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Silence;

    fn silence() -> Silence {
        Silence::new(1_000, Duration::from_secs(3), Duration::from_secs(30))
    }

    #[test]
    fn an_answering_log_bounds_nothing() {
        let silence = silence();
        silence.heard(3_000);
        assert!(!silence.check(5_999));
        assert_eq!(silence.served_until(500), u64::MAX);
    }

    #[test]
    fn a_silence_counts_from_the_last_answer_and_ends_with_the_next() {
        let silence = silence();
        silence.heard(3_000);
        assert!(silence.check(6_000));
        assert!(!silence.check(7_000), "it began before");
        assert_eq!(silence.since(), Some(3_000));
        assert_eq!(silence.served_until(500), 33_000);
        assert_eq!(silence.served_until(5_000), 35_000, "filled meanwhile");
        silence.heard(8_000);
        assert_eq!(silence.since(), None);
        assert_eq!(silence.served_until(500), u64::MAX);
    }

    #[test]
    fn a_log_that_nobody_reads_any_more_is_silent_at_once() {
        let silence = silence();
        silence.heard(3_000);
        silence.begin();
        assert_eq!(silence.served_until(500), 33_000);
        assert!(!silence.check(9_000), "it began before");
        assert_eq!(silence.since(), Some(3_000));
    }

    #[test]
    fn a_log_that_never_answered_is_silent_from_the_start() {
        let silence = silence();
        assert!(silence.check(4_000));
        assert_eq!(silence.since(), Some(1_000));
    }
}
