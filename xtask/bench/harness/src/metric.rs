//! `METRIC` lines: what every bench prints and every report is made from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One measured number: `METRIC suite name subject metric unit value low high samples`.
///
/// The words are separated by single spaces and hold none; `low` and `high` bound the value with 95 % confidence and
/// equal it where nothing is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The bench program or scenario group: `tiered-cache`, `cached-read`.
    pub suite: String,
    /// What is measured: `memory-hit`, `closed-16`.
    pub name: String,
    /// Who is measured: ours or a peer.
    pub subject: String,
    /// Which property: `time`, `rate`, `response_p99`, `instructions`.
    pub metric: String,
    /// Its unit: `ns`, `us`, `ms`, `req/s`, `bytes`, `count`, `ratio`.
    pub unit: String,
    /// The value, usually a median.
    pub value: f64,
    /// Lower bound of its 95 % interval.
    pub low: f64,
    /// Upper bound of its 95 % interval.
    pub high: f64,
    /// How many samples stand behind it.
    pub samples: u64,
}

/// A line that is no `METRIC` line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line:?}: {problem}")]
pub struct MetricError {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Metric {
    /// Whether `line` claims to be one, well formed or not.
    pub fn is_one(line: &str) -> bool {
        line.starts_with("METRIC ")
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            suite,
            name,
            subject,
            metric,
            unit,
            value,
            low,
            high,
            samples,
        } = self;
        write!(
            f,
            "METRIC {suite} {name} {subject} {metric} {unit} {value} {low} {high} {samples}"
        )
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(line: &str) -> Result<Self, MetricError> {
        let error = |problem: String| MetricError {
            line: line.to_owned(),
            problem,
        };
        let words: Vec<_> = line.trim_end().split(' ').collect();
        let ["METRIC", texts @ .., value, low, high, samples] = words.as_slice() else {
            return Err(error("expected METRIC and nine words".to_owned()));
        };
        let [suite, name, subject, metric, unit] = texts else {
            return Err(error(format!(
                "expected nine words after METRIC, found {}",
                words.len() - 1
            )));
        };
        if texts.iter().any(|word| word.is_empty()) {
            return Err(error("words are separated by single spaces".to_owned()));
        }
        let number = |text: &str| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(error(format!("{text:?} is no finite number"))),
        };
        Ok(Self {
            suite: (*suite).to_owned(),
            name: (*name).to_owned(),
            subject: (*subject).to_owned(),
            metric: (*metric).to_owned(),
            unit: (*unit).to_owned(),
            value: number(value)?,
            low: number(low)?,
            high: number(high)?,
            samples: samples
                .parse()
                .map_err(|_| error(format!("{samples:?} is no number of samples")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "METRIC tiered-cache memory-hit ours time ns 51.5 50 53.25 40";

    #[test]
    fn a_line_survives_reading_and_writing() {
        let metric: Metric = LINE.parse().expect("a line");
        assert_eq!((metric.value, metric.samples), (51.5, 40));
        assert_eq!(metric.to_string(), LINE);
    }

    #[test]
    fn what_is_no_line_is_told_with_its_place() {
        for (line, expected) in [
            ("", "expected METRIC"),
            ("METRIC a b c d", "expected"),
            ("METRIC a b c d ns 1 1 1 1 1", "nine words"),
            ("METRIC a b  d ns 1 1 1 1", "single spaces"),
            ("METRIC a b c d ns NaN 1 1 1", "NaN"),
            ("METRIC a b c d ns 1 1 1 1.5", "1.5"),
        ] {
            let error = line.parse::<Metric>().expect_err(line);
            assert!(error.problem.contains(expected), "{line}: {error}");
        }
    }
}
