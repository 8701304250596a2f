//! How often and how soon a failed initialiser is tried again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Cause;

/// How a component is retried; set by [`Component::retry`](crate::Component::retry).
///
/// Errors and time limits of an attempt are retried, panics are not, unless [`when`](Self::when) says otherwise. The
/// waits grow by a factor of two and are shortened at random by up to [`jitter`](Self::jitter), so that replicas that
/// failed together do not come back together.
#[derive(Clone)]
pub struct Retry {
    pub(crate) attempts: u32,
    initial: Duration,
    factor: f64,
    max_delay: Duration,
    jitter: f64,
    when: Option<Arc<Worth>>,
}

/// Whether a failure is worth another attempt.
type Worth = dyn Fn(&Cause) -> bool + Send + Sync;

impl Retry {
    /// At most `attempts` attempts in all, the first included; waits of 100 ms, 200 ms, 400 ms and so on, at most 10 s,
    /// each shortened by up to a half.
    pub fn exponential(attempts: u32) -> Self {
        Self {
            attempts,
            initial: Duration::from_millis(100),
            factor: 2.0,
            max_delay: Duration::from_secs(10),
            jitter: 0.5,
            when: None,
        }
    }

    /// At most `attempts` attempts in all with the same wait between them, without jitter.
    pub fn fixed(attempts: u32, delay: Duration) -> Self {
        Self {
            initial: delay,
            factor: 1.0,
            max_delay: delay,
            jitter: 0.0,
            ..Self::exponential(attempts)
        }
    }

    /// The wait after the first failure. Default: 100 ms.
    #[must_use]
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// The longest wait. Default: 10 s.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// The largest share of a wait that chance takes away, from 0 to 1; values outside are moved there. Default: 0.5.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self
    }

    /// Which failures are worth another attempt. Default: every one but a panic.
    #[must_use]
    pub fn when(mut self, worth: impl Fn(&Cause) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(worth));
        self
    }

    /// The wait after attempt number `failed` (from 1), with `chance` from 0 to 1; `None` when that was the last.
    pub(crate) fn delay(&self, failed: u32, chance: f64) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        // Zero times what has grown beyond all numbers would be none.
        let grown = match self.initial.as_secs_f64() {
            0.0 => 0.0,
            initial => initial * self.factor.powi(exponent),
        };
        let bounded = grown.min(self.max_delay.as_secs_f64());
        let wait = bounded * (1.0 - self.jitter * chance);
        // The longest duration is less than what it comes to as a float.
        Some(Duration::try_from_secs_f64(wait).unwrap_or(self.max_delay))
    }

    pub(crate) fn is_worth(&self, cause: &Cause) -> bool {
        match &self.when {
            Some(worth) => worth(cause),
            None => !matches!(cause, Cause::Panicked(_)),
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("initial", &self.initial)
            .field("factor", &self.factor)
            .field("max_delay", &self.max_delay)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_end_after_the_last_attempt() {
        let retry = Retry::exponential(5).max_delay(ms(300)).jitter(0.0);
        let waits: Vec<_> = (1..=5).map(|failed| retry.delay(failed, 0.5)).collect();
        assert_eq!(
            waits,
            [
                Some(ms(100)),
                Some(ms(200)),
                Some(ms(300)),
                Some(ms(300)),
                None
            ]
        );
    }

    #[test]
    fn chance_takes_away_at_most_the_jitter() {
        let retry = Retry::exponential(2).jitter(0.5);
        assert_eq!(retry.delay(1, 0.0), Some(ms(100)));
        assert_eq!(retry.delay(1, 1.0), Some(ms(50)));
    }

    #[test]
    fn numbers_out_of_all_bounds_are_no_panic() {
        let retry = Retry::exponential(u32::MAX)
            .initial(Duration::MAX)
            .max_delay(ms(7));
        assert_eq!(retry.delay(u32::MAX - 1, 0.0), Some(ms(7)));
        let longest = Retry::fixed(3, Duration::MAX);
        assert_eq!(longest.delay(1, 0.0), Some(Duration::MAX));
        let at_once = Retry::exponential(u32::MAX).initial(Duration::ZERO);
        assert_eq!(at_once.delay(u32::MAX - 1, 0.0), Some(Duration::ZERO));
        assert_eq!(Retry::exponential(0).delay(1, 0.0), None);
        assert_eq!(
            Retry::fixed(3, ms(5)).jitter(f64::NAN).delay(2, 1.0),
            Some(ms(5))
        );
    }
}
