//! Correction for asking many questions at once.

/// Holm's adjusted p-values, in the order of `ps`: each is at least its own p-value and at most 1. Comparing them with
/// `alpha` keeps the probability of any false alarm among all of them below `alpha`. A NaN counts as 1.
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
