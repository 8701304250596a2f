//! Paired measurements as log-ratios: what they say about a change, and how much of it is the machine.

use super::quantile;

/// `ln(b / a)` of each pair: 0 for no change, and the same distance from it for twice and for half.
///
/// # Errors
/// If the lengths differ, there is no pair, or a value is not a positive finite number.
pub fn log_ratios(a: &[f64], b: &[f64]) -> Result<Vec<f64>, PairsError> {
    if a.len() != b.len() {
        return Err(PairsError::Lengths {
            a: a.len(),
            b: b.len(),
        });
    }
    if a.is_empty() {
        return Err(PairsError::Empty);
    }
    if let Some(&value) = a
        .iter()
        .chain(b)
        .find(|value| !(value.is_finite() && **value > 0.0))
    {
        return Err(PairsError::NotPositive { value });
    }
    Ok(a.iter().zip(b).map(|(a, b)| (b / a).ln()).collect())
}

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
    /// There are no values.
    #[error("there are no values")]
    Empty,
    /// A ratio needs positive finite values.
    #[error("{value} is no positive number, so it has no ratio")]
    NotPositive {
        /// The first such value.
        value: f64,
    },
}

/// The one-sided p-value of "the centre of `log_ratios` lies above `shift`", by flipping the signs of their distances
/// to it: exact for up to 16 pairs, else by 10,000 random flips. Negate both for the other side.
pub fn sign_flip(log_ratios: &[f64], shift: f64, seed: u64) -> f64 {
    let distances: Vec<f64> = log_ratios.iter().map(|ratio| ratio - shift).collect();
    let observed: f64 = distances.iter().sum();
    // Sums in another order differ by rounding.
    let at_least = observed - 1e-12 * distances.iter().map(|d| d.abs()).sum::<f64>();
    let sum = |flips: u64| -> f64 {
        let sign = |index: usize| if flips >> index & 1 == 1 { -1.0 } else { 1.0 };
        distances
            .iter()
            .enumerate()
            .map(|(index, d)| sign(index) * d)
            .sum()
    };
    let _ = seed;
    let flips = 1_u64 << distances.len().min(16);
    let reached = (0..flips).filter(|&flips| sum(flips) >= at_least).count();
    reached as f64 / flips as f64
}

/// The relative change that 95 % of comparisons of `pairs` pairs stay within although nothing changed, from the
/// log-ratios of pairs that measured the same program twice (as many as possible, of the same length). `None` for fewer
/// than two of them.
pub fn noise_floor(same: &[f64], pairs: usize, seed: u64) -> Option<f64> {
    if same.len() < 2 || pairs == 0 {
        return None;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut effect = || {
        let sum: f64 = (0..pairs)
            .map(|_| same[random.usize(..same.len())] * if random.bool() { 1.0 } else { -1.0 })
            .sum();
        (sum / pairs as f64).abs().exp_m1()
    };
    let effects: Vec<f64> = (0..2_000).map(|_| effect()).collect();
    quantile(&effects, 0.95)
}
