//! Where results arrive while suites run, so that those of the earlier ones outlive whatever ends a later one.

use harness::Metric;

use super::Run;

/// What was measured until now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Collector {
    pub(crate) metrics: Vec<Metric>,
    pub(crate) runs: Vec<Run>,
    pub(crate) notes: Vec<String>,
}

impl Collector {
    /// Takes one number.
    pub(crate) fn metric(&mut self, metric: Metric) {
        self.metrics.push(metric);
    }

    /// Takes a load run, whole. Its numbers are in no `METRIC` line unless they are given to [`Self::metric`] too.
    pub(crate) fn run(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Takes a sentence that a reader of the figures has to know.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
