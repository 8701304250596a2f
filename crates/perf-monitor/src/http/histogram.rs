//! A log-linear histogram of durations: fixed memory, one atomic addition per record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations in sixteen equal steps per power of two, from 1 microsecond (2^10 ns) to 18 minutes
/// (2^40 ns); what lies outside goes to the nearest end.
///
/// A quantile is the middle of its step, so it is at most 1/32 (3.2 %) off inside of the range.
#[derive(Debug)]
pub(crate) struct LogLinear {
    steps: Box<[AtomicU64; STEPS]>,
}

impl LogLinear {
    pub(crate) fn new() -> Self {
        Self {
            steps: Box::new([const { AtomicU64::new(0) }; STEPS]),
        }
    }

    pub(crate) fn record(&self, duration: Duration) {
        self.steps[step(duration)].fetch_add(1, Ordering::Relaxed);
    }

    /// The durations in seconds below which these shares of the records lie; zero when empty.
    ///
    /// `shares` must rise, since all are found in one pass.
    pub(crate) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let counts: Vec<u64> = self
            .steps
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        let mut found = [0.0; N];
        if total == 0 {
            return found;
        }
        let (mut index, mut seen) = (0, counts[0]);
        for (share, found) in shares.iter().zip(&mut found) {
            let rank = ((share * total as f64).ceil() as u64).clamp(1, total);
            while seen < rank {
                index += 1;
                seen += counts[index];
            }
            *found = middle(index);
        }
        found
    }
}

fn step(duration: Duration) -> usize {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let nanos = nanos.clamp(1 << LOWEST, (1 << HIGHEST) - 1);
    let octave = nanos.ilog2();
    // The four bits after the leading one select the step of the octave.
    let sub = (nanos >> (octave - SUB_BITS)) & (SUBS as u64 - 1);
    (octave - LOWEST) as usize * SUBS + sub as usize
}

/// The middle of a step in seconds.
fn middle(step: usize) -> f64 {
    let octave = LOWEST + (step / SUBS) as u32;
    let width = (1_u64 << (octave - SUB_BITS)) as f64;
    ((SUBS + step % SUBS) as f64 + 0.5) * width / 1e9
}

const LOWEST: u32 = 10;
const HIGHEST: u32 = 40;
const SUB_BITS: u32 = 4;
const SUBS: usize = 1 << SUB_BITS;
const STEPS: usize = (HIGHEST - LOWEST) as usize * SUBS;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_middle_of_a_step_is_within_the_promised_error(nanos in 1_u64 << LOWEST..1 << HIGHEST) {
            let exact = nanos as f64 / 1e9;
            let shown = middle(step(Duration::from_nanos(nanos)));
            prop_assert!((shown - exact).abs() / exact <= 1.0 / 32.0 + 1e-9, "{shown} for {exact}");
        }

        #[test]
        fn quantiles_follow_the_sorted_list(mut nanos in prop::collection::vec(2_000_u64..10_000_000_000, 1..200)) {
            let histogram = LogLinear::new();
            nanos.iter().for_each(|n| histogram.record(Duration::from_nanos(*n)));
            nanos.sort_unstable();
            let shares = [0.5, 0.95, 0.99];
            for (share, shown) in shares.into_iter().zip(histogram.quantiles(shares)) {
                let rank = (share * nanos.len() as f64).ceil() as usize;
                let exact = nanos[rank - 1] as f64 / 1e9;
                prop_assert!((shown - exact).abs() / exact <= 0.032, "{shown} for {exact} at {share}");
            }
        }
    }

    #[test]
    fn durations_outside_of_the_range_go_to_its_ends() {
        assert_eq!(step(Duration::ZERO), 0);
        assert_eq!(step(Duration::MAX), STEPS - 1);
        assert_eq!(LogLinear::new().quantiles([0.5]), [0.0]);
    }
}
