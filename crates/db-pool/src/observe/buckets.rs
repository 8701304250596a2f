//! Durations in logarithmic buckets: counting one is two atomic additions, and sums stay exact.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts durations from 128 ns to about two minutes, four buckets to each doubling.
pub(crate) struct Buckets(Box<[Bucket]>);

#[derive(Default)]
struct Bucket {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// How many durations one bucket holds, and their sum in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) count: u64,
    pub(crate) nanos: u64,
}

impl Buckets {
    pub(crate) fn record(&self, duration: Duration) {
        let nanos = nanos(duration);
        let bucket = &self.0[index(nanos)];
        // The sum first: a reader then never sees a count whose time is still missing.
        if nanos > 0 {
            bucket.nanos.fetch_add(nanos, Relaxed);
        }
        bucket.count.fetch_add(1, Relaxed);
    }

    /// All buckets, the shortest durations first.
    pub(crate) fn filled(&self) -> impl Iterator<Item = Filled> + '_ {
        self.0.iter().map(|bucket| {
            let count = bucket.count.load(Relaxed);
            let nanos = bucket.nanos.load(Relaxed);
            Filled { count, nanos }
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|bucket| bucket.count.load(Relaxed)).sum()
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.0.iter().map(|bucket| bucket.nanos.load(Relaxed)).sum())
    }

    /// The mean of the bucket in which the given share of all durations is reached, so within a quarter of the
    /// truth; zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for Filled { count, nanos } in self.filled() {
            seen += count;
            if count > 0 && seen >= wanted {
                return Duration::from_nanos(nanos / count);
            }
        }
        Duration::ZERO
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self((0..BUCKETS).map(|_| Bucket::default()).collect())
    }
}

/// The whole as nanoseconds; what does not fit in 584 years is cut.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn index(nanos: u64) -> usize {
    let octave = nanos.checked_ilog2().unwrap_or(0);
    if octave < LOWEST {
        return 0;
    }
    let quarter = (nanos >> (octave - 2)) & 3;
    let index = 1 + u64::from(octave - LOWEST) * 4 + quarter;
    (index as usize).min(BUCKETS - 1)
}

/// Everything shorter than 2^7 ns shares the first bucket.
const LOWEST: u32 = 7;

/// One, and four for each of 30 doublings; everything longer than 2^37 ns shares the last.
const BUCKETS: usize = 1 + 30 * 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bucket_no_wider_than_a_quarter() {
        let mut last = 0;
        for shift in 0..63 {
            for quarter in 0..4 {
                let value = (1_u64 << shift) + ((1_u64 << shift) / 4) * quarter;
                let at = index(value);
                assert!(at >= last && at < BUCKETS, "{value}");
                last = at;
            }
        }
        assert_eq!(index(0), 0);
        assert_eq!(index(u64::MAX), BUCKETS - 1);
        assert_ne!(index(1000), index(1300));
        assert_eq!(index(1100), index(1200));
    }

    #[test]
    fn count_and_sum_are_exact_and_quantiles_near() {
        let buckets = Buckets::default();
        assert_eq!(buckets.quantile(0.5), Duration::ZERO);
        for micros in 1..=1000 {
            buckets.record(Duration::from_micros(micros));
        }
        assert_eq!(buckets.count(), 1000);
        assert_eq!(buckets.total(), Duration::from_micros(500_500));
        for (share, true_micros) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = buckets.quantile(share).as_secs_f64() * 1e6;
            assert!((found / true_micros - 1.0).abs() < 0.25, "{share}: {found}");
        }
    }
}
