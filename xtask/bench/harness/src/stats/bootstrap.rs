//! Quantiles, and intervals by resampling.

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

const RESAMPLES: usize = 2_000;

/// The median of `values` with a percentile-bootstrap interval; `None` for no values or one that is not finite.
pub fn median(values: &[f64], seed: u64) -> Option<Interval> {
    finite(values)?;
    Some(bootstrap(values, seed, middle))
}

/// The quantile `q` (0 to 1) of `values`, interpolated between neighbours; `None` for no values or one that is not
/// finite.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = finite(values)?.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(of_sorted(&sorted, q))
}

/// `statistic` of `values`, which are not empty, with a percentile interval. It may reorder what it is given.
pub(super) fn bootstrap(
    values: &[f64],
    seed: u64,
    mut statistic: impl FnMut(&mut [f64]) -> f64,
) -> Interval {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sample = values.to_vec();
    let value = statistic(&mut sample);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            sample.fill_with(|| values[random.usize(..values.len())]);
            statistic(&mut sample)
        })
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    Interval {
        value,
        low: of_sorted(&resampled, 0.025),
        high: of_sorted(&resampled, 0.975),
    }
}

/// The median of `values`, which are not empty; reorders them.
pub(super) fn middle(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(lower) if even => (lower + upper) / 2.0,
        _ => upper,
    }
}

fn finite(values: &[f64]) -> Option<&[f64]> {
    let usable = !values.is_empty() && values.iter().all(|value| value.is_finite());
    usable.then_some(values)
}

fn of_sorted(sorted: &[f64], q: f64) -> f64 {
    let rank = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.0), Some(1.0));
        assert_eq!(quantile(&values, 0.5), Some(2.5));
        assert_eq!(quantile(&values, 1.0), Some(4.0));
        assert_eq!(quantile(&values, 7.0), Some(4.0));
    }

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(middle(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(middle(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(middle(&mut [7.0]), 7.0);
    }

    #[test]
    fn the_interval_of_a_median_holds_the_truth_in_about_95_of_100_samples() {
        let mut random = fastrand::Rng::with_seed(1);
        let held = (0..300).filter(|_| {
            let values: Vec<f64> = (0..41).map(|_| random.f64()).collect();
            let median = median(&values, 1).expect("values");
            (median.low..=median.high).contains(&0.5)
        });
        let held = held.count();
        assert!((275..=297).contains(&held), "{held} of 300");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..40).map(|value| f64::from(value).powi(3)).collect();
        assert_eq!(median(&values, 5), median(&values, 5));
        assert_ne!(median(&values, 5), median(&values, 6));
    }

    #[test]
    fn what_is_no_sample_has_no_median() {
        for values in [&[][..], &[1.0, f64::NAN], &[f64::INFINITY]] {
            assert_eq!(median(values, 1), None, "{values:?}");
            assert_eq!(quantile(values, 0.5), None, "{values:?}");
        }
    }
}
