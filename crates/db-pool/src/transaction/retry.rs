//! When a transaction is run again: how long to wait, and how many of all may.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets at most one in ten of the last hundred transactions be run again, and always a few.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<Bucket>);

/// Counts in tenths of a retry.
#[derive(Debug)]
struct Bucket {
    tenths: u32,
    filled: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            tenths: FLOOR,
            filled: now,
        }))
    }

    /// Each transaction pays in a tenth.
    pub(super) fn began(&self) {
        self.with(|bucket| bucket.tenths = (bucket.tenths + 1).min(CEILING));
    }

    /// Takes out one retry, if there is one.
    pub(super) fn take(&self, now: Instant) -> bool {
        self.with(|bucket| bucket.take(now))
    }

    fn with<R>(&self, work: impl FnOnce(&mut Bucket) -> R) -> R {
        // Nothing panics under the lock, so a poisoned one protects as well.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        // A pool with little to do may run a few again all the same: one a second.
        let seconds = now.saturating_duration_since(self.filled).as_secs();
        if seconds > 0 {
            let gift =
                u32::try_from(seconds).map_or(FLOOR, |seconds| seconds.saturating_mul(RETRY));
            self.tenths = self.tenths.max(self.tenths.saturating_add(gift).min(FLOOR));
            self.filled = now;
        }
        match self.tenths.checked_sub(RETRY) {
            Some(rest) => {
                self.tenths = rest;
                true
            }
            None => false,
        }
    }
}

/// How long to wait before attempt number `next`: at random within a span that doubles, so that those that met once
/// do not meet again.
pub(super) fn pause(next: u32, random: &mut fastrand::Rng) -> Duration {
    let doublings = next.saturating_sub(2).min(16);
    let span = (FIRST_SPAN * (1 << doublings)).min(LONGEST_SPAN);
    span.mul_f64(random.f64())
}

/// What one retry costs.
const RETRY: u32 = 10;
/// Three retries at once are always allowed.
const FLOOR: u32 = 3 * RETRY;
/// What a hundred transactions pay in.
const CEILING: u32 = 10 * RETRY;
const FIRST_SPAN: Duration = Duration::from_millis(8);
const LONGEST_SPAN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(budget: &Budget, now: Instant) -> usize {
        (0..1000).take_while(|_| budget.take(now)).count()
    }

    #[test]
    fn one_in_ten_of_the_last_hundred_is_run_again() {
        let now = Instant::now();
        let budget = Budget::new(now);
        assert_eq!(drain(&budget, now), 3, "at once");
        for _ in 0..50 {
            budget.began();
        }
        assert_eq!(drain(&budget, now), 5);
        for _ in 0..100_000 {
            budget.began();
        }
        assert_eq!(drain(&budget, now), 10, "what is long ago does not count");
    }

    #[test]
    fn an_idle_pool_earns_one_a_second_up_to_three() {
        let now = Instant::now();
        let budget = Budget::new(now);
        drain(&budget, now);
        assert_eq!(drain(&budget, now + Duration::from_millis(999)), 0);
        assert_eq!(drain(&budget, now + Duration::from_secs(1)), 1);
        assert_eq!(drain(&budget, now + Duration::from_secs(3600)), 3);
    }

    #[test]
    fn pauses_grow_differ_and_are_bounded() {
        let mut random = fastrand::Rng::with_seed(7);
        for (next, longest) in [(2, 8), (3, 16), (8, 500), (u32::MAX, 500)] {
            let longest = Duration::from_millis(longest);
            let drawn: Vec<_> = (0..64).map(|_| pause(next, &mut random)).collect();
            assert!(drawn.iter().all(|one| *one < longest));
            assert!(drawn.iter().any(|one| *one > longest / 2));
        }
    }
}
