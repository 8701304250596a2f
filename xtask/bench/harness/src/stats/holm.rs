//! Correction for asking many questions at once.

/// Holm's adjusted p-values, in the order of `ps`: none is smaller than its own p-value or greater than 1. Comparing them
/// with `alpha` keeps the probability of any false alarm among all of them below `alpha`. A NaN counts as 1.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let p = |index: usize| {
        if ps[index].is_nan() {
            1.0
        } else {
            ps[index].clamp(0.0, 1.0)
        }
    };
    let mut order: Vec<usize> = (0..ps.len()).collect();
    order.sort_by(|&a, &b| p(a).total_cmp(&p(b)));
    let mut adjusted = vec![1.0; ps.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        largest = largest.max(p(index) * (ps.len() - rank) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_is_multiplied_by_the_number_of_questions() {
        let adjusted = holm(&[0.01, 0.04, 0.03]);
        // By hand: 0.01 * 3; 0.03 * 2; max(0.04 * 1, 0.06).
        for (adjusted, expected) in adjusted.into_iter().zip([0.03, 0.06, 0.06]) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted} {expected}");
        }
    }

    #[test]
    fn adjusted_values_keep_the_order_and_are_no_smaller() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..500 {
            let ps: Vec<f64> = (0..random.usize(0..20))
                .map(|_| random.f64().powi(4))
                .collect();
            let adjusted = holm(&ps);
            for (i, (p, a)) in ps.iter().zip(&adjusted).enumerate() {
                assert!(p <= a && *a <= 1.0, "{ps:?}");
                for (q, b) in ps.iter().zip(&adjusted).skip(i) {
                    assert!((p < q) <= (a <= b) && (p > q) <= (a >= b), "{ps:?}");
                }
            }
        }
    }

    #[test]
    fn no_number_is_no_evidence() {
        assert_eq!(holm(&[f64::NAN, 2.0, -1.0]), [1.0, 1.0, 0.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }
}
