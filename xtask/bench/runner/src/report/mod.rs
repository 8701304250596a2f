//! The report of a session: one versioned document; CSV, Markdown, HTML and the screen are rendered from it alone.

mod collector;
mod csv;
mod figure;
mod groups;
mod html;
mod markdown;
#[cfg(test)]
mod sample;
mod store;

use harness::Metric;
use loadgen::Cap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::Environment;

pub(crate) use collector::Collector;
pub(crate) use figure::{figure, percent, spread, thousands};
pub(crate) use groups::{Bench, benches, is_ours, label, tally};
#[cfg(test)]
pub(crate) use sample::sample;
pub(crate) use store::FILE;

/// The version of the document that this program writes, and the only one that it reads.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What an invalid run says about the others.
const BUSY: &str = "the machine was busy with other work: latencies of INVALID rows are left out, and the rates beside them \
                    are too low, whatever is said to have capped them";

/// What a session measured, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Report {
    /// The version of this document: 1.
    pub(crate) schema_version: u32,
    /// Where and when.
    pub(crate) environment: Environment,
    /// Each number, as on the `METRIC` lines.
    pub(crate) results: Vec<Metric>,
    /// Each load run, whole.
    pub(crate) runs: Vec<Run>,
    /// Whether every chosen suite ran to its end.
    pub(crate) complete: bool,
    /// What a reader has to know, in sentences.
    pub(crate) notes: Vec<String>,
}

/// One load run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Run {
    /// The scenario: `cached-read`.
    pub(crate) suite: String,
    /// What was done: `closed-16`, `open-70`.
    pub(crate) name: String,
    /// Who was measured: `reference-service` or a peer.
    pub(crate) subject: String,
    /// What it gave, as the load generator tells it.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub(crate) summary: loadgen::Summary,
}

impl Report {
    /// The report of what `collector` holds.
    pub(crate) fn new(environment: Environment, collector: Collector, complete: bool) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            environment,
            results: collector.metrics,
            runs: collector.runs,
            complete,
            notes: collector.notes,
        }
    }

    /// The value of one of `results`; `≥` before a rate that something else than its subject limited.
    pub(crate) fn value(&self, metric: &Metric) -> String {
        let limited = |run: &Run| {
            let same = (&run.suite, &run.name, &run.subject)
                == (&metric.suite, &metric.name, &metric.subject);
            same && run.is_at_least()
        };
        let at_least = metric.metric == "rate" && self.runs.iter().any(limited);
        let figure = figure(metric.value, &metric.unit);
        format!("{}{figure}", if at_least { "≥ " } else { "" })
    }

    /// Why figures say less than they seem to, as sentences beside the notes. Who was too slow is told by a note.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let runs = self.runs.iter();
        let invalid: Vec<_> = runs
            .filter(|run| run.is_invalid() && !run.is_too_slow())
            .collect();
        // A full generator is late by itself.
        let late = invalid
            .iter()
            .any(|run| run.summary.capped_by != Cap::Generator);
        let busy = late.then(|| BUSY.to_owned());
        let sentences = invalid.into_iter().flat_map(|run| {
            let Run {
                suite,
                name,
                subject,
                ..
            } = run;
            let reasons = run.summary.invalid.iter();
            reasons.map(move |reason| format!("{suite} {name} {subject}: INVALID: {reason}"))
        });
        busy.into_iter().chain(sentences).collect()
    }
}

impl Run {
    /// Whether it says nothing about its subject.
    pub(crate) fn is_invalid(&self) -> bool {
        self.summary.offered_rate.is_some() && !self.summary.invalid.is_empty()
    }

    /// A word for what kept its rate from being higher, or for why it says nothing.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.summary.capped_by {
            _ if self.is_too_slow() => "TOO SLOW",
            _ if self.is_invalid() => "INVALID",
            Cap::Cpu => "CPU",
            Cap::Pool => "pool",
            Cap::Lock => "lock",
            Cap::Generator => "generator",
            Cap::Rate => "rate",
            Cap::Users => "users",
            _ => "unknown",
        }
    }

    /// Whether its subject could not take the rate: that says something about the subject, but nothing about latency.
    pub(crate) fn is_too_slow(&self) -> bool {
        self.is_invalid() && fell_behind(&self.summary)
    }

    /// Whether its rate was reached although something else than its subject limited it: a closed model that is
    /// disturbed can only be too slow.
    pub(crate) fn is_at_least(&self) -> bool {
        self.summary.offered_rate.is_none() && !self.summary.invalid.is_empty()
    }
}

/// Whether more requests of an open run than a hiccup at its end explains found no connection.
pub(crate) fn fell_behind(run: &loadgen::Summary) -> bool {
    run.unsent > run.ended / 100
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn the_schema_is_the_committed_one() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).expect("JSON");
        expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/report.schema.json")]
            .assert_eq(&format!("{schema}\n"));
    }

    #[test]
    fn results_have_exactly_the_words_of_a_metric_line() {
        let schema = schemars::schema_for!(Report);
        let properties = schema
            .pointer("/$defs/Metric/properties")
            .and_then(serde_json::Value::as_object)
            .expect("properties of a result");
        let report = serde_json::to_value(sample()).expect("JSON");
        let result = report["results"][0].as_object().expect("a result");
        assert!(properties.keys().eq(result.keys()), "{properties:?}");
    }
}
