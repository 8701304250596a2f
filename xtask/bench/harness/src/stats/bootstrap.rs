//! Medians and means with intervals by resampling.

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
    bootstrap(values, seed, |sample| {
        sample.sort_unstable_by(f64::total_cmp);
        of_sorted(sample, 0.5)
    })
}

/// The mean of `values` with a percentile-bootstrap interval; `None` for no values or one that is not finite.
pub fn mean(values: &[f64], seed: u64) -> Option<Interval> {
    bootstrap(values, seed, |sample| {
        sample.iter().sum::<f64>() / sample.len() as f64
    })
}

/// The quantile `q` (0 to 1) of `values`, between neighbours by their distance; `None` for no values or one that is not
/// finite.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some(of_sorted(&sorted, q))
}

fn of_sorted(sorted: &[f64], q: f64) -> f64 {
    let rank = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

fn bootstrap(values: &[f64], seed: u64, statistic: impl Fn(&mut [f64]) -> f64) -> Option<Interval> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
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
    Some(Interval {
        value,
        low: of_sorted(&resampled, 0.025),
        high: of_sorted(&resampled, 0.975),
    })
}
