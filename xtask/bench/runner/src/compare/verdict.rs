//! From collected pairs to a verdict on each metric, and from the verdicts to how the command ends.

use harness::Metric;
use harness::stats::{ALPHA, Interval, Judgement, Paired, Verdict, judge, quantile};

use super::blocks::{Collected, PAIRS_MAX, Pair};
use crate::session::Exit;

/// More than this many times the pairs are not worth waiting for: a quieter machine is.
const PATIENCE: f64 = 20.0;

/// What a metric is called on both sides, where the subject is ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
}

/// One metric of both sides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// Medians over the blocks.
    pub(crate) a: f64,
    pub(crate) b: f64,
    /// The relative change from A to B.
    pub(crate) effect: Option<Interval>,
    pub(crate) verdict: Verdict,
    /// The relative change that does not matter.
    pub(crate) tolerance: f64,
    /// Shown, but never the reason for an exit code: something steadier decides.
    pub(crate) advisory: bool,
    /// Why it is inconclusive.
    pub(crate) why: Option<String>,
    /// How many times as many pairs would probably settle it.
    pub(crate) more: Option<f64>,
}

impl Key {
    pub(crate) fn of(metric: &Metric) -> Self {
        Self {
            suite: metric.suite.clone(),
            name: metric.name.clone(),
            metric: metric.metric.clone(),
            unit: metric.unit.clone(),
        }
    }

    fn higher_is_better(&self) -> bool {
        self.metric == "rate"
    }

    /// What a counted metric may differ by for reasons of its own: once in a hundred operations something grows.
    fn slack(&self) -> f64 {
        match self.metric.as_str() {
            "allocations" => 0.01,
            _ => 1.0,
        }
    }

    /// Whether it is counted rather than timed: the same program gives the same number.
    pub(super) fn is_exact(&self) -> bool {
        matches!(
            self.metric.as_str(),
            "instructions" | "allocations" | "allocated"
        )
    }
}

/// Judges every metric that both sides have, in the order in which they were measured.
///
/// Timed metrics are one family: the chance of a false alarm among all of them stays below [`ALPHA`]. Wall-clock
/// times of which `instructions` are known are a family of their own and advisory.
pub(crate) fn rows(
    collected: &Collected,
    instructions: &Pair,
    tolerance: impl Fn(&Key) -> f64,
    seed: u64,
) -> Vec<Row> {
    let counted = keys(std::slice::from_ref(instructions));
    let is_advisory = |key: &Key| {
        key.metric == "time"
            && counted
                .iter()
                .any(|other| (&other.suite, &other.name) == (&key.suite, &key.name))
    };
    let (exact, timed): (Vec<_>, Vec<_>) =
        keys(&collected.pairs).into_iter().partition(Key::is_exact);
    let (advisory, deciding): (Vec<_>, Vec<_>) = timed.into_iter().partition(is_advisory);

    let mut rows = judge_timed(collected, deciding, &tolerance, seed);
    rows.extend(
        judge_timed(collected, advisory, &tolerance, seed)
            .into_iter()
            .map(|row| Row {
                advisory: true,
                ..row
            }),
    );
    for (keys, pairs) in [
        (exact, collected.pairs.as_slice()),
        (counted, std::slice::from_ref(instructions)),
    ] {
        rows.extend(keys.into_iter().filter_map(|key| {
            let tolerance = tolerance(&key);
            judge_exact(pairs, key, tolerance)
        }));
    }
    rows.sort_by(|x, y| (&x.key.suite, &x.key.name).cmp(&(&y.key.suite, &y.key.name)));
    rows
}

/// How a comparison ends.
pub(crate) fn exit(rows: &[Row]) -> Exit {
    let regressed = |row: &Row| row.verdict == Verdict::Regressed && !row.advisory;
    if rows.iter().any(regressed) {
        Exit::Regressed
    } else {
        Exit::Fine
    }
}

fn judge_timed(
    collected: &Collected,
    keys: Vec<Key>,
    tolerance: impl Fn(&Key) -> f64,
    seed: u64,
) -> Vec<Row> {
    let series: Vec<_> = keys
        .iter()
        .map(|key| {
            let (a, b) = values(&collected.pairs, key);
            Paired {
                name: key.metric.clone(),
                a,
                b,
                higher_is_better: key.higher_is_better(),
                tolerance: tolerance(key),
            }
        })
        .collect();
    let judgements = judge(&series, ALPHA, seed);
    keys.into_iter()
        .zip(&series)
        .zip(judgements)
        .map(|((key, paired), judgement)| {
            let (why, more) = why(collected, paired, &judgement);
            Row {
                key,
                a: middle(&paired.a),
                b: middle(&paired.b),
                effect: judgement.effect,
                verdict: judgement.verdict,
                tolerance: paired.tolerance,
                advisory: false,
                why,
                more,
            }
        })
        .collect()
}

/// Why a verdict is open, and how many times the pairs would probably close it.
fn why(
    collected: &Collected,
    paired: &Paired,
    judgement: &Judgement,
) -> (Option<String>, Option<f64>) {
    if judgement.verdict != Verdict::Inconclusive {
        return (None, None);
    }
    let (pairs, needed) = (paired.a.len(), collected.needed);
    if (1..needed).contains(&pairs) {
        let why = format!("{pairs} pairs, and {needed} are the least");
        return (Some(why), Some(needed as f64 / pairs as f64));
    }
    let Some(effect) = judgement.effect else {
        return (judgement.problem.map(|problem| problem.to_string()), None);
    };
    // The interval shrinks with the root of the number of pairs, about a centre that may stay where it is.
    let half = (effect.high - effect.low) / 2.0;
    let room = (paired.tolerance - effect.value.abs()).abs();
    let more = (half / room.max(f64::EPSILON)).powi(2).max(1.5);
    if more > PATIENCE || pairs as f64 * more > PAIRS_MAX as f64 {
        let why = if half > paired.tolerance {
            "the machine is too noisy for this tolerance"
        } else {
            "the change is about as large as the tolerance"
        };
        return (Some(why.to_owned()), None);
    }
    let why = "the interval reaches past the tolerance; more pairs may settle it";
    (Some(why.to_owned()), Some(more))
}

/// By the lowest and the highest of each side: what is counted has no noise to be averaged away. Where it varies after
/// all, the sides must lie apart by that much more: three counts of each side lie apart by chance once in ten times.
fn judge_exact(pairs: &[Pair], key: Key, tolerance: f64) -> Option<Row> {
    let range = |side: fn(&Pair) -> &[Metric]| -> Option<Interval> {
        let found: Vec<_> = pairs
            .iter()
            .filter_map(|pair| find(side(pair), &key))
            .collect();
        let values: Vec<_> = found.iter().map(|one| one.value).collect();
        Some(Interval {
            value: quantile(&values, 0.5)?,
            low: found.iter().map(|one| one.low).fold(f64::MAX, f64::min),
            high: found.iter().map(|one| one.high).fold(f64::MIN, f64::max),
        })
    };
    let (a, b) = (range(|pair| &pair.a)?, range(|pair| &pair.b)?);
    let slack = key.slack();
    let change = |from: f64, to: f64| {
        let difference = to - from;
        if difference.abs() < slack {
            0.0
        } else {
            difference / from
        }
    };
    let effect = Interval {
        value: change(a.value, b.value),
        low: change(a.high, b.low),
        high: change(a.low, b.high),
    };
    let spread = change(a.low, a.high).max(change(b.low, b.high));
    let verdict = if effect.low > tolerance + spread {
        Verdict::Regressed
    } else if effect.high < -tolerance - spread {
        Verdict::Improved
    } else if effect.low >= -tolerance && effect.high <= tolerance {
        Verdict::Equal
    } else {
        Verdict::Inconclusive
    };
    let open = verdict == Verdict::Inconclusive;
    Some(Row {
        key,
        a: a.value,
        b: b.value,
        effect: Some(effect),
        verdict,
        tolerance,
        advisory: false,
        why: open.then(|| "the counts differ from one time to the next".to_owned()),
        more: None,
    })
}

/// The values of each metric on both sides, pair by pair.
pub(crate) fn pair_values(pairs: &[Pair]) -> Vec<(Key, Vec<f64>, Vec<f64>)> {
    keys(pairs)
        .into_iter()
        .filter(|key| !key.is_exact())
        .map(|key| {
            let (a, b) = values(pairs, &key);
            (key, a, b)
        })
        .collect()
}

/// Each metric that both sides have, in the order of the first pair that has it.
fn keys(pairs: &[Pair]) -> Vec<Key> {
    let mut keys = Vec::new();
    for pair in pairs {
        for key in pair.a.iter().map(Key::of) {
            if !keys.contains(&key) && find(&pair.b, &key).is_some() {
                keys.push(key);
            }
        }
    }
    keys
}

/// Both sides of each pair that has both: a percentile may be missing where a block had too few samples.
fn values(pairs: &[Pair], key: &Key) -> (Vec<f64>, Vec<f64>) {
    let both = |pair: &Pair| Some((find(&pair.a, key)?.value, find(&pair.b, key)?.value));
    pairs.iter().filter_map(both).unzip()
}

fn find<'a>(metrics: &'a [Metric], key: &Key) -> Option<&'a Metric> {
    metrics.iter().find(|metric| Key::of(metric) == *key)
}

fn middle(values: &[f64]) -> f64 {
    quantile(values, 0.5).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn metric(metric: &str, unit: &str, value: f64) -> Metric {
        format!("METRIC suite bench ours {metric} {unit} {value} {value} {value} 1")
            .parse()
            .expect("a line")
    }

    /// Pairs in which B is `factor` times A, and both vary by a percent or so from block to block.
    fn collected(name: &str, unit: &str, factor: f64, pairs: usize) -> Collected {
        let mut random = fastrand::Rng::with_seed(3);
        let mut noisy =
            |value: f64| metric(name, unit, value * (1.0 + 0.01 * (random.f64() - 0.5)));
        Collected {
            pairs: (0..pairs)
                .map(|_| Pair {
                    a: vec![noisy(1_000.0)],
                    b: vec![noisy(1_000.0 * factor)],
                })
                .collect(),
            planned: pairs,
            needed: 8,
            pair_time: Duration::from_secs(1),
            ended: None,
        }
    }

    fn judged(collected: &Collected) -> Vec<Row> {
        rows(collected, &Pair::default(), |_| 0.02, 1)
    }

    #[test]
    fn a_change_is_worse_or_better_by_what_the_metric_is() {
        for (name, unit, factor, verdict, exit_code) in [
            ("rate", "req/s", 1.10, Verdict::Improved, Exit::Fine),
            ("rate", "req/s", 0.90, Verdict::Regressed, Exit::Regressed),
            (
                "response_p99",
                "us",
                1.10,
                Verdict::Regressed,
                Exit::Regressed,
            ),
            ("response_p99", "us", 0.90, Verdict::Improved, Exit::Fine),
            ("rss", "bytes", 1.001, Verdict::Equal, Exit::Fine),
        ] {
            let rows = judged(&collected(name, unit, factor, 16));
            assert_eq!(rows[0].verdict, verdict, "{name} {factor}");
            assert_eq!(exit(&rows), exit_code, "{name} {factor}");
        }
    }

    #[test]
    fn too_few_pairs_are_no_verdict_whatever_they_show() {
        let rows = judged(&collected("rate", "req/s", 0.5, 4));
        assert_eq!(rows[0].verdict, Verdict::Inconclusive);
        assert_eq!(rows[0].why.as_deref(), Some("4 pairs, and 8 are the least"));
        assert_eq!(rows[0].more, Some(2.0));
        assert_eq!(exit(&rows), Exit::Fine);
    }

    #[test]
    fn a_change_as_large_as_the_tolerance_is_open_for_ever() {
        let rows = judged(&collected("rate", "req/s", 1.02, 16));
        assert_eq!(rows[0].verdict, Verdict::Inconclusive);
        let why = rows[0].why.as_deref().unwrap_or_default();
        assert!(why.contains("as large as the tolerance"), "{why}");
    }

    #[test]
    fn where_instructions_are_counted_the_wall_clock_only_advises() {
        let slower = collected("time", "ns", 1.2, 16);
        assert_eq!(exit(&judged(&slower)), Exit::Regressed);
        let count = |value| vec![metric("instructions", "count", value)];
        let uncounted = Pair {
            a: count(1_000.0),
            b: Vec::new(),
        };
        let of_one_side = rows(&slower, &uncounted, |_| 0.02, 1);
        assert_eq!(exit(&of_one_side), Exit::Regressed);
        for (after, exit_code) in [(1_000.0, Exit::Fine), (1_100.0, Exit::Regressed)] {
            let instructions = Pair {
                a: count(1_000.0),
                b: count(after),
            };
            let rows = rows(&slower, &instructions, |_| 0.02, 1);
            assert_eq!(rows.len(), 2);
            let time = rows.iter().find(|row| row.key.metric == "time");
            assert!(time.is_some_and(|row| row.advisory && row.verdict == Verdict::Regressed));
            assert_eq!(exit(&rows), exit_code, "{after}");
        }
    }

    #[test]
    fn one_allocation_more_is_seen_also_where_there_was_none() {
        for (a, b, verdict) in [
            (0.0, 0.0, Verdict::Equal),
            (0.0, 1.0, Verdict::Regressed),
            (1.0, 0.0, Verdict::Improved),
            (3.0, 3.0, Verdict::Equal),
            (0.0, 0.002, Verdict::Equal),
        ] {
            let pair = Pair {
                a: vec![metric("allocations", "count", a)],
                b: vec![metric("allocations", "count", b)],
            };
            let collected = Collected {
                pairs: vec![pair; 3],
                ..Collected::default()
            };
            assert_eq!(judged(&collected)[0].verdict, verdict, "{a} {b}");
        }
    }

    #[test]
    fn counts_that_vary_beyond_the_tolerance_are_open() {
        let pair = |b| Pair {
            a: vec![metric("instructions", "count", 100.0)],
            b: vec![metric("instructions", "count", b)],
        };
        let collected = Collected {
            pairs: vec![pair(100.0), pair(110.0)],
            ..Collected::default()
        };
        assert_eq!(judged(&collected)[0].verdict, Verdict::Inconclusive);
    }

    #[test]
    fn counts_that_vary_are_worse_only_if_the_sides_lie_apart_by_more_than_that() {
        let count = |low: f64, high: f64| {
            let line = format!("METRIC suite bench ours instructions count {low} {low} {high} 3");
            vec![line.parse::<Metric>().expect("a line")]
        };
        for (low, high, verdict) in [
            (115.0, 120.0, Verdict::Inconclusive),
            (125.0, 130.0, Verdict::Regressed),
            (80.0, 85.0, Verdict::Improved),
            (100.0, 110.0, Verdict::Inconclusive),
        ] {
            let instructions = Pair {
                a: count(100.0, 110.0),
                b: count(low, high),
            };
            let rows = rows(&Collected::default(), &instructions, |_| 0.02, 1);
            assert_eq!(rows[0].verdict, verdict, "{low} .. {high}");
        }
    }

    #[test]
    fn a_percentile_that_some_blocks_lack_is_judged_by_the_others() {
        let mut collected = collected("response_p99", "us", 1.2, 16);
        collected.pairs[0].a.clear();
        collected.pairs[3].b.clear();
        let rows = judged(&collected);
        assert_eq!(rows[0].verdict, Verdict::Regressed);
        collected.pairs.iter_mut().for_each(|pair| pair.b.clear());
        assert!(judged(&collected).is_empty());
    }

    #[test]
    fn a_value_without_a_ratio_is_told() {
        let rows = judged(&collected("shutdown", "ms", 0.0, 16));
        let why = rows[0].why.as_deref().unwrap_or_default();
        assert!(why.contains("positive numbers"), "{why}");
    }
}
