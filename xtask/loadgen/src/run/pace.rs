//! Waking for the next arrival: sleeping until shortly before it, then polling without a pause.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

use super::machine::Timer;

/// A thread that sleeps wakes some 50 µs late. So it wakes that much too early, but for at most a tenth of the time
/// before an arrival: this costs a tenth of its core at the most.
const SPIN_MAX: u64 = 50_000;
const SPIN_SHARE: u64 = 10;

/// When to wake for one arrival after another.
#[derive(Debug)]
pub(super) struct Pace {
    timer: Timer,
    arrival: u64,
    wake_at: u64,
}

impl Pace {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = Timer::new(registry, token)?;
        Ok(Self {
            timer,
            arrival: 0,
            wake_at: 0,
        })
    }

    /// How long the poller may wait for other events; the timer wakes it for `arrival`.
    pub(super) fn nap(&mut self, arrival: u64, now: u64, nap: Duration) -> io::Result<Duration> {
        if self.arrival != arrival {
            self.arrival = arrival;
            self.wake_at = wake_at(arrival, now);
        }
        if self.wake_at <= now {
            return Ok(Duration::ZERO);
        }
        let left = self.timer.arm(self.wake_at, now)?;
        Ok(left.map_or(nap, |left| nap.min(left)))
    }
}

fn wake_at(arrival: u64, now: u64) -> u64 {
    arrival - SPIN_MAX.min(arrival.saturating_sub(now) / SPIN_SHARE)
}

#[cfg(test)]
mod tests {
    use super::wake_at;

    #[test]
    fn a_thread_wakes_early_by_a_tenth_of_the_gap_and_never_by_more_than_it_sleeps_late() {
        assert_eq!(wake_at(1_000_000, 900_000), 990_000);
        assert_eq!(wake_at(100_000_000, 0), 99_950_000);
        assert_eq!(wake_at(100, 200), 100, "it is due");
    }
}
