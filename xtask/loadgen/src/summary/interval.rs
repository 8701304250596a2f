//! How sure a number is: 95 % intervals of percentiles, means and shares.

/// The quantiles between which a quantile of the distribution is, by the ranks of `samples` independent values. Latencies
/// of neighbours resemble each other, so the truth is somewhat wider.
pub(super) fn quantile_bounds(quantile: f64, samples: u64) -> [f64; 2] {
    let spread = Z * (quantile * (1.0 - quantile) / samples.max(1) as f64).sqrt();
    [(quantile - spread).max(0.0), (quantile + spread).min(1.0)]
}

/// Mean of values, with the interval that Student's t gives it; without one below three values.
pub(super) fn mean(values: &[f64]) -> Option<[f64; 2]> {
    if values.len() < 3 {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let freedom = count - 1.0;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / freedom;
    let spread = student(freedom) * (variance / count).sqrt();
    Some([mean - spread, mean + spread])
}

/// Where a share is of which `hits` of `samples` were seen (Wilson): sensible at 0 and 1 too.
pub(super) fn share(hits: f64, samples: f64) -> [f64; 2] {
    let (share, z2) = (hits / samples, Z * Z);
    let centre = share + z2 / (2.0 * samples);
    let spread = Z * (share * (1.0 - share) / samples + z2 / (4.0 * samples * samples)).sqrt();
    let scale = 1.0 + z2 / samples;
    [
        ((centre - spread) / scale).max(0.0),
        ((centre + spread) / scale).min(1.0),
    ]
}

/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// 97.5 % quantile of Student's t (Cornish and Fisher's expansion): 11 % too small at two degrees of freedom, 2 % at
/// four, exact beyond ten.
fn student(freedom: f64) -> f64 {
    let (z3, z5) = (Z.powi(3), Z.powi(5));
    Z + (z3 + Z) / (4.0 * freedom) + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * freedom * freedom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_a_quantile_close_in_with_the_samples() {
        let [low, high] = quantile_bounds(0.99, 1_000);
        assert!(
            (low - 0.983_8).abs() < 1e-4 && (high - 0.996_2).abs() < 1e-4,
            "{low} {high}"
        );
        let [low, high] = quantile_bounds(0.99, 100_000);
        assert!(low > 0.989 && high < 0.991, "{low} {high}");
        assert_eq!(quantile_bounds(0.5, 1), [0.0, 1.0]);
    }

    #[test]
    fn a_mean_of_few_values_is_wide() {
        assert_eq!(mean(&[1.0, 2.0]), None);
        // t(4) = 2.776, standard error 0.7071: 3 ± 1.96.
        let [low, high] = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("an interval");
        assert!(
            (low - 1.05).abs() < 0.05 && (high - 4.95).abs() < 0.05,
            "{low} {high}"
        );
    }

    #[test]
    fn a_share_of_all_is_not_certain() {
        let [low, high] = share(1_000.0, 1_000.0);
        assert!((low - 0.996_2).abs() < 1e-4 && high == 1.0, "{low} {high}");
        let [low, high] = share(50.0, 100.0);
        assert!(
            (low - 0.403_8).abs() < 1e-3 && (high - 0.596_2).abs() < 1e-3,
            "{low} {high}"
        );
    }
}
