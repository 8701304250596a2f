//! From the rounds of one subject to its metrics, the run that is shown whole, and what a reader has to know about both.

use harness::Metric;
use harness::stats::Interval;
use loadgen::{LatencySummary, ServerSummary, Summary};

use super::rounds::{self, Kept};
use crate::report::{Collector, Run, fell_behind};

/// Whose figures, of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) suite: &'a str,
    pub(super) name: &'a str,
    pub(super) subject: &'a str,
}

impl Row<'_> {
    /// What rounds of a closed model tell: the highest rate and what a request costs.
    pub(super) fn closed(&self, all: &[Summary], to: &mut Collector) {
        let Kept {
            rounds,
            left_out,
            invalid,
        } = rounds::keep(all);
        let Some(shown) = rounds::middle(&rounds, |round| round.rate) else {
            return;
        };
        if !invalid.is_empty() {
            // A rate that something else limited is still one that was reached.
            self.note(
                to,
                &format!("at least {:.0} req/s: {}", shown.rate, invalid.join("; ")),
            );
        }
        self.note_left_out(to, left_out, all);
        self.median(to, "rate", "req/s", rounds.iter().map(|round| round.rate));
        self.success(to, &rounds);
        self.server(to, &rounds);
        self.run(to, shown, invalid);
    }

    /// What rounds of an open model tell: how long answers take. Nothing if they are invalid. `most` is the rate that
    /// the subject reached in a closed model.
    pub(super) fn open(&self, all: &[Summary], most: Option<f64>, to: &mut Collector) {
        let Kept {
            rounds,
            left_out,
            invalid,
        } = rounds::keep(all);
        let Some(shown) = rounds::middle(&rounds, |round| round.response_us.p99.unwrap_or(0.0))
        else {
            return;
        };
        if invalid.is_empty() {
            self.note_left_out(to, left_out, all);
            for (metric, latency, percentile) in LATENCIES {
                let values = rounds.iter().filter_map(|round| percentile(latency(round)));
                // A percentile that only some rounds had the samples for is none of the whole.
                let values: Vec<_> = values.collect();
                if values.len() == rounds.len() {
                    self.median(to, metric, "us", values);
                }
            }
        } else if let (true, Some(most)) = (fell_behind(shown), most) {
            self.note(
                to,
                &format!("too slow for this rate, it sustains {most:.0} req/s: no latency"),
            );
        }
        self.success(to, &rounds);
        self.run(to, shown, invalid);
    }

    /// The median of `values` with its interval; nothing for no values.
    pub(super) fn median(
        &self,
        to: &mut Collector,
        metric: &str,
        unit: &str,
        values: impl IntoIterator<Item = f64>,
    ) {
        let values: Vec<_> = values.into_iter().collect();
        let samples = values.len() as u64;
        if let Some(interval) = rounds::median(&values) {
            self.metric(to, metric, unit, interval, samples);
        }
    }

    /// The highest of `values`, which has no interval; nothing for no values.
    pub(super) fn most(
        &self,
        to: &mut Collector,
        metric: &str,
        unit: &str,
        values: impl IntoIterator<Item = f64>,
    ) {
        let values: Vec<_> = values.into_iter().collect();
        if let Some(most) = values.iter().copied().reduce(f64::max) {
            let samples = values.len() as u64;
            self.metric(to, metric, unit, exactly(most), samples);
        }
    }

    /// A sentence about this row.
    pub(super) fn note(&self, to: &mut Collector, text: &str) {
        to.note(format!(
            "{} {} {}: {text}",
            self.suite, self.name, self.subject
        ));
    }

    fn success(&self, to: &mut Collector, rounds: &[&Summary]) {
        let ended: u64 = rounds.iter().map(|round| round.ended).sum();
        if ended == 0 {
            return;
        }
        let well: f64 = rounds
            .iter()
            .map(|round| round.success * round.ended as f64)
            .sum();
        let value = well / ended as f64;
        // Failures come in bursts: no interval that takes requests for independent would hold.
        self.metric(to, "success", "ratio", exactly(value), ended);
        if let Some(round) = rounds.iter().find(|round| round.success < 1.0) {
            let (statuses, errors) = (&round.statuses, &round.errors);
            let share = (1.0 - value) * 100.0;
            self.note(
                to,
                &format!("{share:.3} % failed; statuses {statuses:?}, errors {errors:?}"),
            );
        }
    }

    fn server(&self, to: &mut Collector, rounds: &[&Summary]) {
        let servers = || rounds.iter().filter_map(|round| round.server.as_ref());
        let of = |figure: fn(&ServerSummary) -> f64| servers().map(figure);
        self.median(
            to,
            "cpu_per_request",
            "us",
            of(|server| server.cpu_us_per_request),
        );
        self.median(
            to,
            "rss_start",
            "bytes",
            of(|server| server.rss_start_bytes as f64).take(1),
        );
        self.median(
            to,
            "rss_steady",
            "bytes",
            of(|server| server.rss_steady_bytes as f64),
        );
        let peaks = of(|server| server.rss_peak_bytes as f64);
        self.most(to, "rss_peak", "bytes", peaks);
    }

    fn run(&self, to: &mut Collector, shown: &Summary, invalid: Vec<String>) {
        to.run(Run {
            suite: self.suite.to_owned(),
            name: self.name.to_owned(),
            subject: self.subject.to_owned(),
            summary: {
                let mut summary = shown.clone();
                summary.invalid = invalid;
                summary
            },
        });
    }

    fn note_left_out(&self, to: &mut Collector, left_out: usize, all: &[Summary]) {
        let reason = all.iter().flat_map(|round| &round.invalid).next();
        if let (1.., Some(reason)) = (left_out, reason) {
            self.note(
                to,
                &format!("{left_out} of {} rounds left out: {reason}", all.len()),
            );
        }
    }

    fn metric(
        &self,
        to: &mut Collector,
        metric: &str,
        unit: &str,
        interval: Interval,
        samples: u64,
    ) {
        to.metric(Metric {
            suite: self.suite.to_owned(),
            name: self.name.to_owned(),
            subject: self.subject.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            value: interval.value,
            low: interval.low,
            high: interval.high,
            samples,
        });
    }
}

/// A value of which no interval is known.
fn exactly(value: f64) -> Interval {
    let (low, high) = (value, value);
    Interval { value, low, high }
}

type Latency = fn(&Summary) -> &LatencySummary;
type Percentile = fn(&LatencySummary) -> Option<f64>;

const RESPONSE: Latency = |summary| &summary.response_us;
const LATENCIES: [(&str, Latency, Percentile); 5] = [
    ("response_p50", RESPONSE, |latency| latency.p50),
    ("response_p95", RESPONSE, |latency| latency.p95),
    ("response_p99", RESPONSE, |latency| latency.p99),
    ("response_p999", RESPONSE, |latency| latency.p999),
    (
        "service_p99",
        |summary| &summary.service_us,
        |latency| latency.p99,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row<'_> = Row {
        suite: "hello",
        name: "closed-16",
        subject: "naive",
    };

    fn round(rate: f64, p99: Option<f64>) -> Summary {
        let mut round = Summary::default();
        (round.rate, round.ended, round.success) = (rate, 1_000, 1.0);
        round.response_us.p99 = p99;
        round
    }

    fn values(collector: &Collector) -> Vec<(&str, f64, f64, f64)> {
        let metrics = collector.metrics.iter();
        metrics
            .map(|metric| (&*metric.metric, metric.value, metric.low, metric.high))
            .collect()
    }

    #[test]
    fn the_rate_is_the_median_of_the_rounds_and_the_middle_one_is_shown() {
        let mut collector = Collector::default();
        ROW.closed(
            &[round(10.0, None), round(30.0, None), round(20.0, None)],
            &mut collector,
        );
        let expected = [("rate", 20.0, 10.0, 30.0), ("success", 1.0, 1.0, 1.0)];
        assert_eq!(values(&collector), expected);
        assert_eq!(collector.runs[0].summary.rate, 20.0);
        assert!(collector.notes.is_empty());
    }

    #[test]
    fn a_rate_that_the_generator_limited_is_told_as_a_lower_bound() {
        let mut rounds = [round(10.0, None)];
        rounds[0].invalid.push("the generator was full".to_owned());
        let mut collector = Collector::default();
        ROW.closed(&rounds, &mut collector);
        assert_eq!(
            collector.notes,
            ["hello closed-16 naive: at least 10 req/s: the generator was full"]
        );
        assert_eq!(collector.runs[0].summary.invalid.len(), 1);
    }

    #[test]
    fn an_invalid_open_run_has_no_latency() {
        let mut rounds = [round(10.0, Some(5.0))];
        rounds[0].invalid.push("9 requests never left".to_owned());
        let mut collector = Collector::default();
        ROW.open(&rounds, None, &mut collector);
        assert_eq!(values(&collector), [("success", 1.0, 1.0, 1.0)]);
        assert_eq!(collector.runs[0].summary.invalid, ["9 requests never left"]);
    }

    #[test]
    fn who_is_too_slow_for_the_rate_is_told_with_what_it_sustains() {
        let mut rounds = [round(10.0, Some(5.0))];
        rounds[0].invalid.push("90 requests never left".to_owned());
        let notes = |unsent| {
            let mut rounds = rounds.clone();
            rounds[0].unsent = unsent;
            let mut collector = Collector::default();
            ROW.open(&rounds, Some(9.6), &mut collector);
            collector.notes
        };
        assert_eq!(
            notes(90),
            ["hello closed-16 naive: too slow for this rate, it sustains 10 req/s: no latency"]
        );
        assert!(notes(9).is_empty(), "a hiccup at the end of 1,000");
    }

    #[test]
    fn a_percentile_without_samples_in_some_rounds_is_absent() {
        let mut collector = Collector::default();
        let rounds = [
            round(10.0, Some(5.0)),
            round(10.0, None),
            round(10.0, Some(7.0)),
        ];
        ROW.open(&rounds, None, &mut collector);
        assert!(
            !values(&collector)
                .iter()
                .any(|(metric, ..)| *metric == "response_p99")
        );
        ROW.open(&rounds[..1], None, &mut collector);
        assert!(values(&collector).contains(&("response_p99", 5.0, 5.0, 5.0)));
    }

    #[test]
    fn failures_are_told_with_what_came_instead() {
        let mut rounds = [round(10.0, None)];
        (rounds[0].success, rounds[0].ended) = (0.5, 4);
        rounds[0].statuses.insert(503, 2);
        let mut collector = Collector::default();
        ROW.closed(&rounds, &mut collector);
        assert_eq!(
            collector.notes,
            ["hello closed-16 naive: 50.000 % failed; statuses {503: 2}, errors {}"]
        );
    }
}
