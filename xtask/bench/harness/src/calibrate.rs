//! How many iterations a sample needs: as many as fill the time of a sample.

use std::time::Duration;

/// An operation that takes no time at all must not run for ever.
const ITERATIONS_MAX: u64 = 1 << 30;

/// The iterations that take about `target`, by `run`, which does so many and returns their time. Doubles from 1 on until
/// a quarter of the target is reached: more than what a clock or a single interrupt adds, and less than twice the
/// target in all.
pub(crate) fn iterations(target: Duration, mut run: impl FnMut(u64) -> Duration) -> u64 {
    let mut iterations = 1;
    loop {
        let elapsed = run(iterations);
        if elapsed * 4 >= target || iterations >= ITERATIONS_MAX {
            let times = target.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
            return ((iterations as f64 * times).round() as u64).clamp(1, ITERATIONS_MAX);
        }
        iterations *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(2);

    /// The result for an operation of so many nanoseconds, and the time that finding it took.
    fn calibrated(nanoseconds: f64, overhead: Duration) -> (u64, Duration) {
        let mut spent = Duration::ZERO;
        let iterations = iterations(TARGET, |iterations| {
            let time = Duration::from_secs_f64(iterations as f64 * nanoseconds * 1e-9) + overhead;
            spent += time;
            time
        });
        (iterations, spent)
    }

    #[test]
    fn a_sample_takes_about_the_target() {
        for nanoseconds in [0.3, 7.0, 1_000.0, 123_456.0] {
            let (iterations, _) = calibrated(nanoseconds, Duration::ZERO);
            let time = iterations as f64 * nanoseconds;
            assert!((1.85e6..2.15e6).contains(&time), "{nanoseconds} ns: {time}");
        }
    }

    #[test]
    fn an_operation_longer_than_a_sample_is_done_once() {
        assert_eq!(
            calibrated(5e6, Duration::ZERO),
            (1, Duration::from_millis(5))
        );
        assert_eq!(calibrated(1.9e6, Duration::ZERO).0, 1);
    }

    #[test]
    fn calibration_costs_less_than_two_samples() {
        for nanoseconds in [0.3, 7.0, 1_000.0, 123_456.0] {
            assert!(
                calibrated(nanoseconds, Duration::ZERO).1 < 2 * TARGET,
                "{nanoseconds}"
            );
        }
    }

    #[test]
    fn what_the_clock_adds_changes_little() {
        let (iterations, _) = calibrated(7.0, Duration::from_nanos(100));
        assert!((280_000..287_000).contains(&iterations), "{iterations}");
    }

    #[test]
    fn an_operation_without_time_ends_at_the_bound() {
        assert_eq!(calibrated(0.0, Duration::ZERO).0, ITERATIONS_MAX);
    }
}
