//! How long loads took, in a fixed number of buckets: percentiles at most an eighth off, 1 KiB.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::snapshot::LoadTimes;

/// Counts of durations, four buckets for each doubling from 1 µs to more than an hour.
#[derive(Debug)]
pub(super) struct Durations {
    buckets: [AtomicU64; BUCKETS],
    longest_us: AtomicU64,
}

impl Durations {
    pub(super) fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            longest_us: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    /// `None` before the first duration.
    pub(super) fn times(&self) -> Option<LoadTimes> {
        let counts: Vec<u64> = self
            .buckets
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        let longest = self.longest_us.load(Ordering::Relaxed);
        let at = |share: f64| {
            let rank = (total as f64 * share).ceil() as u64;
            let mut seen = 0;
            let position = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            let us = position.map_or(longest, middle).min(longest);
            Duration::from_micros(us)
        };
        (total > 0).then(|| LoadTimes {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: Duration::from_micros(longest),
        })
    }
}

/// Below 4 µs a bucket for each; then the position of the highest bit and the two bits under it.
fn bucket(us: u64) -> usize {
    if us < 4 {
        return us as usize;
    }
    let highest = us.ilog2();
    let under = (us >> (highest - 2)) & 3;
    ((highest as usize - 1) * 4 + under as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let shift = bucket / 4 - 1;
    let low = (4 + (bucket as u64 % 4)) << shift;
    low + (1 << shift) / 2
}

/// The last one begins at 75 minutes, beyond any sensible `load_timeout`.
const BUCKETS: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Durations, bucket, middle};

    #[test]
    fn every_duration_is_at_most_an_eighth_from_the_middle_of_its_bucket() {
        let mut us = 1_u64;
        while us < 4_000_000_000 {
            let off = middle(bucket(us)).abs_diff(us) as f64 / us as f64;
            assert!(off <= 0.125, "{us} is counted as {}", middle(bucket(us)));
            us += us / 7 + 1;
        }
    }

    #[test]
    fn percentiles_never_exceed_the_longest() {
        let durations = Durations::new();
        assert_eq!(durations.times(), None);
        (1..=100).for_each(|ms| durations.record(Duration::from_millis(ms)));
        let times = durations.times().expect("there are some");
        let near = |found: Duration, wanted_ms: f64| {
            let off = found.as_secs_f64() * 1000.0 / wanted_ms - 1.0;
            assert!(off.abs() <= 0.125, "{found:?} for {wanted_ms} ms");
        };
        near(times.p50, 50.0);
        near(times.p95, 95.0);
        near(times.p99, 99.0);
        assert_eq!(times.max, Duration::from_millis(100));
        durations.record(Duration::MAX);
        let times = durations.times().expect("there are some");
        near(times.p50, 51.0);
        assert!(times.max > Duration::from_secs(3600));
    }
}
