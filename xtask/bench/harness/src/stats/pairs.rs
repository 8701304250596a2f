//! Pairs as log-ratios: how large a change they show, whether there is one, and how much of it is the machine.

use super::bootstrap::{bootstrap, middle};
use super::{Interval, quantile};

/// Below it, 95 % cannot be had.
const PAIRS_MIN: usize = 5;

/// Pairs that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PairsError {
    /// The sides have different numbers of values.
    #[error("{a} values on one side and {b} on the other make no pairs")]
    Lengths {
        /// Values of side A.
        a: usize,
        /// Values of side B.
        b: usize,
    },
    /// Too few pairs for an interval.
    #[error("{pairs} pairs are too few for an interval, which takes {PAIRS_MIN}")]
    Few {
        /// Their number.
        pairs: usize,
    },
    /// A ratio needs positive finite values.
    #[error("{value} has no ratio to anything, as only positive numbers have")]
    NotPositive {
        /// The first such value.
        value: f64,
    },
}

/// `ln(b / a)` of each pair: 0 for no change, equally far from it for twice and for half.
///
/// # Errors
/// If the lengths differ, or a value is not positive and finite.
pub fn log_ratios(a: &[f64], b: &[f64]) -> Result<Vec<f64>, PairsError> {
    if a.len() != b.len() {
        return Err(PairsError::Lengths {
            a: a.len(),
            b: b.len(),
        });
    }
    let usable = |value: f64| value.is_finite() && value > 0.0;
    if let Some(&value) = a.iter().chain(b).find(|value| !usable(**value)) {
        return Err(PairsError::NotPositive { value });
    }
    // A difference of logarithms: a ratio could overflow.
    Ok(a.iter().zip(b).map(|(a, b)| b.ln() - a.ln()).collect())
}

/// The centre of finite `log_ratios` with its interval: see the [module](super).
///
/// # Errors
/// If there are fewer than five.
pub(super) fn centre(log_ratios: &[f64], seed: u64) -> Result<Interval, PairsError> {
    let pairs = log_ratios.len();
    if pairs < PAIRS_MIN {
        return Err(PairsError::Few { pairs });
    }
    let mut means = Vec::new();
    let Interval { value, low, high } = bootstrap(log_ratios, seed, |sample| {
        hodges_lehmann(sample, &mut means)
    });
    let pairs = pairs as f64;
    let widened = student_975(pairs - 1.0) / NORMAL_975 * (pairs / (pairs - 1.0)).sqrt();
    Ok(Interval {
        value,
        low: value - (value - low) * widened,
        high: value + (high - value) * widened,
    })
}

/// The two-sided p-value of "there is no change" by Wilcoxon's signed-rank test, exact for any number of pairs: of all
/// ways to flip the signs of the log-ratios, so many give a sum of ranks as far off as the one seen. Ranks, so that a
/// disturbed block has no more to say than any other. 1 for no pairs.
pub fn signed_rank(log_ratios: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = log_ratios
        .iter()
        .copied()
        .filter(|ratio| *ratio != 0.0)
        .collect();
    ratios.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the rank: ties share the mean of their ranks, and this stays a whole number.
    let mut ranks = Vec::with_capacity(ratios.len());
    for tied in ratios.chunk_by(|a, b| a.abs() == b.abs()) {
        let rank = 2 * ranks.len() + tied.len() + 1;
        ranks.extend(std::iter::repeat_n(rank, tied.len()));
    }
    let total: usize = ranks.iter().sum();
    let positive = ratios.iter().zip(&ranks).filter(|(ratio, _)| **ratio > 0.0);
    let positive: usize = positive.map(|(_, rank)| rank).sum();

    // Of each sum of positive ranks, how probable it is if each is positive with probability one half.
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    for &rank in &ranks {
        for sum in (0..=total).rev() {
            let with_it = if sum >= rank {
                probability[sum - rank]
            } else {
                0.0
            };
            probability[sum] = (probability[sum] + with_it) / 2.0;
        }
    }
    let as_far_off = positive.max(total - positive);
    (2.0 * probability[as_far_off..].iter().sum::<f64>()).min(1.0)
}

/// How many pairs it takes at least before [`judge`](super::judge) can call a change significant among so many metrics:
/// with fewer, not even all of them pointing the same way is evidence enough.
pub fn pairs_needed(metrics: usize, alpha: f64) -> usize {
    let enough = |pairs: &usize| 2.0 * metrics.max(1) as f64 * 0.5_f64.powi(*pairs as i32) < alpha;
    (PAIRS_MIN..64).find(enough).unwrap_or(64)
}

/// The relative change that 95 % of comparisons of `pairs` pairs report no more than, although nothing changed: from the
/// log-ratios of pairs that measured the same program twice, in blocks of the same length. `None` for fewer than five of
/// either, or one that is not finite. Twelve or more give a floor worth its name.
pub fn noise_floor(same: &[f64], pairs: usize, seed: u64) -> Option<f64> {
    if same.len().min(pairs) < PAIRS_MIN || same.iter().any(|ratio| !ratio.is_finite()) {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sample = vec![0.0; pairs];
    let mut means = Vec::new();
    let mut effect = || {
        // Which side was which is arbitrary, so each ratio counts in both directions.
        sample.fill_with(|| {
            let ratio = same[random.usize(..same.len())];
            if random.bool() { ratio } else { -ratio }
        });
        hodges_lehmann(&sample, &mut means).abs().exp_m1()
    };
    let effects: Vec<f64> = (0..2_000).map(|_| effect()).collect();
    quantile(&effects, 0.95)
}

/// The median of the means of any two values, a value and itself included. `means` is working space.
fn hodges_lehmann(values: &[f64], means: &mut Vec<f64>) -> f64 {
    means.clear();
    for (index, a) in values.iter().enumerate() {
        means.extend(values[index..].iter().map(|b| (a + b) / 2.0));
    }
    middle(means)
}

/// The quantile 0.975 of the normal distribution.
const NORMAL_975: f64 = 1.959_964;

/// The quantile 0.975 of Student's t distribution, by the expansion of Cornish and Fisher: within 0.01 from four degrees
/// of freedom on.
fn student_975(freedom: f64) -> f64 {
    let z = NORMAL_975;
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / freedom + second / freedom.powi(2) + third / freedom.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_inverse_are_equally_far_from_no_change() {
        let ratios = log_ratios(&[1.0, 2.0, 5.0], &[2.0, 1.0, 5.0]).expect("pairs");
        assert_eq!(ratios[0], -ratios[1]);
        assert_eq!(ratios[2], 0.0);
        let extremes = log_ratios(&[f64::MIN_POSITIVE], &[f64::MAX]).expect("pairs");
        assert!(extremes[0].is_finite());
    }

    #[test]
    fn what_makes_no_pairs_is_told() {
        let few = PairsError::Lengths { a: 1, b: 2 };
        assert_eq!(log_ratios(&[1.0], &[1.0, 2.0]), Err(few));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = log_ratios(&[1.0, bad], &[1.0, 1.0]).expect_err("bad value");
            assert!(matches!(error, PairsError::NotPositive { .. }), "{bad}");
        }
        assert_eq!(centre(&[0.1; 4], 1), Err(PairsError::Few { pairs: 4 }));
    }

    #[test]
    fn signed_rank_agrees_with_published_values() {
        // All twelve of one sign: 2 / 2^12. The table for n = 8 has p = 0.0391 for W = 3 and 0.0547 for W = 4, two-sided.
        let all: Vec<f64> = (1..=12).map(f64::from).collect();
        assert_eq!(signed_rank(&all), 2.0 / 4096.0);
        let with_negative_rank = |negative: f64| -> Vec<f64> {
            (1..=8)
                .map(f64::from)
                .map(|rank| if rank == negative { -rank } else { rank })
                .collect()
        };
        assert!((signed_rank(&with_negative_rank(3.0)) - 0.0391).abs() < 5e-5);
        assert!((signed_rank(&with_negative_rank(4.0)) - 0.0547).abs() < 5e-5);
    }

    #[test]
    fn signed_rank_counts_ties_and_zeros_as_no_evidence() {
        assert_eq!(signed_rank(&[]), 1.0);
        assert_eq!(signed_rank(&[0.0; 12]), 1.0);
        assert_eq!(signed_rank(&[1.0, -1.0, 1.0, -1.0]), 1.0);
        assert_eq!(signed_rank(&[1.0; 4]), 2.0 / 16.0);
    }

    #[test]
    fn one_disturbed_block_moves_the_centre_no_further_than_its_rank() {
        let mut ratios = vec![
            0.010, 0.012, 0.008, 0.011, 0.009, 0.010, 0.012, 0.008, 0.011,
        ];
        ratios.push(1.0);
        let centre = centre(&ratios, 1).expect("pairs");
        assert!((centre.value - 0.010).abs() < 0.001, "{centre:?}");
    }

    #[test]
    fn students_quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(4.0, 2.776), (5.0, 2.571), (11.0, 2.201), (30.0, 2.042)] {
            assert!((student_975(freedom) - expected).abs() < 0.01, "{freedom}");
        }
    }

    #[test]
    fn fewer_pairs_than_needed_cannot_be_significant_even_if_all_agree() {
        for metrics in [1, 12, 20] {
            let needed = pairs_needed(metrics, 0.02);
            let p = |pairs: usize| {
                let agreeing: Vec<f64> = (1..=pairs).map(|pair| pair as f64).collect();
                signed_rank(&agreeing) * metrics as f64
            };
            assert!(
                p(needed) < 0.02 && p(needed - 1) >= 0.02,
                "{metrics}: {needed}"
            );
        }
        assert_eq!(pairs_needed(1, 0.0), 64);
    }

    #[test]
    fn the_noise_floor_shrinks_with_the_number_of_pairs_and_grows_with_the_noise() {
        let noise = |scale: f64| -> Vec<f64> {
            let mut random = fastrand::Rng::with_seed(9);
            (0..24).map(|_| scale * (random.f64() - 0.5)).collect()
        };
        let floor = |scale: f64, pairs: usize| noise_floor(&noise(scale), pairs, 1).expect("pairs");
        assert!(floor(0.1, 24) < floor(0.1, 12) && floor(0.1, 12) < floor(0.1, 6));
        assert!(floor(0.1, 12) < floor(0.3, 12));
        // Standard error of the mean of 12 even spreads of 0.1: 0.1 / sqrt(12) / sqrt(12); 1.96 of them are 0.016.
        assert!(
            (0.012..0.022).contains(&floor(0.1, 12)),
            "{}",
            floor(0.1, 12)
        );
        assert_eq!(noise_floor(&[0.1; 4], 12, 1), None);
        assert_eq!(noise_floor(&[f64::NAN; 12], 12, 1), None);
    }
}
