//! The order of turns, what is kept of several rounds, and the rate at which all are compared; pure.

use fastrand::Rng;
use harness::stats::{Interval, quantile};
use loadgen::Summary;

/// Numbers of the subjects for each round: everybody once, in an order drawn anew, so that what drifts on the machine
/// meets all of them alike.
pub(super) fn orders(subjects: usize, rounds: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = Rng::with_seed(seed);
    let order = |_| {
        let mut order: Vec<_> = (0..subjects).collect();
        rng.shuffle(&mut order);
        order
    };
    (0..rounds).map(order).collect()
}

/// What is kept of the rounds of one subject.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    /// The valid ones if they are the most; else all.
    pub(super) rounds: Vec<&'a Summary>,
    /// How many were left out.
    pub(super) left_out: usize,
    /// Why the others cannot be believed either; empty if they can.
    pub(super) invalid: Vec<String>,
}

/// A round that something disturbed is left out; when that is every second one, it is no disturbance.
pub(super) fn keep(rounds: &[Summary]) -> Kept<'_> {
    let whole = || rounds.iter().filter(|round| !round.interrupted);
    let valid: Vec<_> = whole().filter(|round| round.invalid.is_empty()).collect();
    let all = whole().count();
    if valid.len() * 2 > all {
        return Kept {
            left_out: all - valid.len(),
            rounds: valid,
            invalid: Vec::new(),
        };
    }
    let first = whole().find(|round| !round.invalid.is_empty());
    Kept {
        rounds: whole().collect(),
        left_out: 0,
        invalid: first.map_or_else(Vec::new, |round| round.invalid.clone()),
    }
}

/// The round in the middle by `figure`: one that was really measured, to be shown whole.
pub(super) fn middle<'a>(
    rounds: &[&'a Summary],
    figure: impl Fn(&Summary) -> f64,
) -> Option<&'a Summary> {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The median of `values` with an interval that holds the true one in 95 % of cases, whatever the distribution: so many
/// values from either end that the truth lies beyond by chance. Of fewer than six not even the range is that sure. `None`
/// for no values or one that is not finite.
pub(super) fn median(values: &[f64]) -> Option<Interval> {
    let value = quantile(values, 0.5)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // How likely it is that just so many of all values lie below the truth: binomial.
    let mut chance = 0.5_f64.powf(values.len() as f64);
    let (mut beyond, mut lowest) = (2.0 * chance, 0);
    for below in 1..=values.len() / 2 {
        chance *= (values.len() - below + 1) as f64 / below as f64;
        beyond += 2.0 * chance;
        if beyond > 0.05 {
            break;
        }
        lowest = below;
    }
    Some(Interval {
        value,
        low: sorted[lowest],
        high: sorted[sorted.len() - 1 - lowest],
    })
}

/// The rate at which latencies are compared: half of what the slowest of `rates` sustains, to two digits, so that
/// nobody is near its limit and a reader can remember it.
pub(super) fn open_rate(rates: impl IntoIterator<Item = f64>) -> Option<f64> {
    let slowest = rates.into_iter().reduce(f64::min)?;
    let half = slowest / 2.0;
    if !half.is_finite() || half < 1.0 {
        return None;
    }
    let digit = 10_f64.powf(half.log10().floor() - 1.0).max(1.0);
    Some((half / digit).floor() * digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rate: f64, invalid: &[&str]) -> Summary {
        let mut round = Summary::default();
        round.rate = rate;
        round.invalid = invalid.iter().map(|&reason| reason.to_owned()).collect();
        round
    }

    #[test]
    fn in_each_round_everybody_has_one_turn_and_the_order_changes() {
        let orders = orders(3, 50, 7);
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
        }
        for first in 0..3 {
            assert!(
                orders.iter().any(|order| order[0] == first),
                "{first} is first at times"
            );
        }
    }

    #[test]
    fn one_disturbed_round_of_three_is_left_out() {
        let rounds = [round(1.0, &[]), round(2.0, &["late"]), round(3.0, &[])];
        let kept = keep(&rounds);
        assert_eq!((kept.rounds.len(), kept.left_out), (2, 1));
        assert!(kept.invalid.is_empty());
    }

    #[test]
    fn two_of_three_are_no_disturbance() {
        let rounds = [
            round(1.0, &[]),
            round(2.0, &["late"]),
            round(3.0, &["full"]),
        ];
        let kept = keep(&rounds);
        assert_eq!((kept.rounds.len(), kept.left_out), (3, 0));
        assert_eq!(kept.invalid, ["late"]);
    }

    #[test]
    fn an_interrupted_round_never_counts() {
        let mut rounds = [round(1.0, &[]), round(2.0, &[])];
        rounds[1].interrupted = true;
        assert_eq!(keep(&rounds).rounds.len(), 1);
        assert!(keep(&[]).rounds.is_empty());
    }

    #[test]
    fn the_middle_round_is_one_that_was_measured() {
        let rounds = [
            round(9.0, &[]),
            round(1.0, &[]),
            round(5.0, &[]),
            round(6.0, &[]),
        ];
        let rounds: Vec<_> = rounds.iter().collect();
        assert_eq!(
            middle(&rounds, |round| round.rate).map(|round| round.rate),
            Some(5.0)
        );
        assert_eq!(middle(&[], |round| round.rate), None);
    }

    #[test]
    fn the_interval_of_a_median_is_sure_from_six_values_on() {
        let bounds = |count: u32| {
            let values: Vec<_> = (1..=count).map(f64::from).collect();
            let interval = median(&values).expect("values");
            (interval.low, interval.value, interval.high)
        };
        assert_eq!(bounds(1), (1.0, 1.0, 1.0));
        assert_eq!(bounds(3), (1.0, 2.0, 3.0));
        // From tables of the sign test.
        assert_eq!(bounds(6), (1.0, 3.5, 6.0));
        assert_eq!(bounds(8), (1.0, 4.5, 8.0));
        assert_eq!(bounds(9), (2.0, 5.0, 8.0));
        assert_eq!(bounds(20), (6.0, 10.5, 15.0));
        assert_eq!(bounds(50), (18.0, 25.5, 33.0));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn all_are_compared_at_half_of_what_the_slowest_sustains() {
        assert_eq!(open_rate([27_029.0, 11_474.0]), Some(5_700.0));
        assert_eq!(open_rate([127.0]), Some(63.0));
        assert_eq!(open_rate([9.0]), Some(4.0));
        assert_eq!(open_rate([1.0]), None, "nothing answers");
        assert_eq!(open_rate([]), None);
    }
}
