//! Figures that are no time of one operation: ratios, whole runs, sizes at which a single operation takes seconds. They
//! are taken by code of their own, beside goals where there are some.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use crate::cores::Cores;
use crate::measure::text_of;
use crate::metric::Metric;
use crate::stats::quantile;

/// How much work a suite may make of its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// The smallest sizes, once: only whether it works.
    Smoke,
    /// Seconds, for orientation.
    Quick,
    /// A minute or two.
    Normal,
    /// As long as it takes.
    Full,
}

/// One set of figures: what it is about and how it is taken.
pub struct Set {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) least: Effort,
    pub(crate) take: Box<Take>,
}

impl Set {
    /// Takes it with this effort or more, or if it is named. Default: always.
    pub fn from(&mut self, least: Effort) -> &mut Self {
        self.least = least;
        self
    }
}

pub(crate) type Take = dyn FnOnce(&mut Figures<'_>);

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Takes down the figures of one set.
#[derive(Debug)]
pub struct Figures<'a> {
    suite: String,
    name: String,
    effort: Effort,
    cores: &'a Cores,
    stopped: Stopped<'a>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) remarks: Vec<String>,
}

/// What a thread allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocated {
    /// How often; a `realloc` counts as an allocation.
    pub count: u64,
    /// The most bytes that were in use at once, beyond those before.
    pub bytes_max: u64,
}

struct Stopped<'a>(&'a dyn Fn() -> bool);

impl fmt::Debug for Stopped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stopped").field(&(self.0)()).finish()
    }
}

/// The subject under which goals stand: no peer, and left out of every verdict.
pub(crate) const GOAL: &str = "goal";

impl Figures<'_> {
    /// How much work they may be.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Whether somebody wants it to end; what was taken until then is printed.
    pub fn is_stopped(&self) -> bool {
        (self.stopped.0)()
    }

    /// Does `action` with all cores rather than with the one that benches are kept on.
    pub fn on_all_cores<T>(&self, action: impl FnOnce() -> T) -> T {
        self.cores.with_all(action)
    }

    /// Does `action` and counts what it allocates on this thread.
    pub fn allocations<T>(&self, action: impl FnOnce() -> T) -> (T, Allocated) {
        let mut result = None;
        let counted = allocation_counter::measure(|| result = Some(action()));
        let allocated = Allocated {
            count: counted.count_total,
            bytes_max: counted.bytes_max,
        };
        (result.expect("the action was done"), allocated)
    }

    /// Takes down ours: the median of `samples` and, as its interval, their range. Less is better. Nothing without
    /// samples.
    pub fn ours(&mut self, metric: &str, unit: &str, samples: &[f64]) {
        let suite = self.suite.clone();
        self.push(&suite, metric, unit, samples);
    }

    /// Takes down a peer's, as [`ours`](Self::ours) and with the rules of [`Bench::peer`](crate::Bench::peer) for labels.
    pub fn peer(&mut self, label: &str, metric: &str, unit: &str, samples: &[f64]) {
        self.push(&label.replace(' ', "-"), metric, unit, samples);
    }

    /// What ours should be at most.
    pub fn goal(&mut self, metric: &str, unit: &str, at_most: f64) {
        self.push(GOAL, metric, unit, &[at_most]);
    }

    /// Shows `text` below the figures; it may have several lines.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    fn push(&mut self, subject: &str, metric: &str, unit: &str, samples: &[f64]) {
        let at = |share| quantile(samples, share);
        let (Some(value), Some(low), Some(high)) = (at(0.5), at(0.0), at(1.0)) else {
            return;
        };
        self.metrics.push(Metric {
            suite: self.suite.clone(),
            name: self.name.clone(),
            subject: subject.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            value,
            low,
            high,
            samples: samples.len() as u64,
        });
    }
}

/// Takes `set`; an error is the text of its panic, beside what it had taken by then.
pub(crate) fn take(
    set: Set,
    suite: &str,
    effort: Effort,
    cores: &Cores,
    stopped: &dyn Fn() -> bool,
) -> (Vec<Metric>, Vec<String>, Result<(), String>) {
    let mut figures = Figures {
        suite: suite.to_owned(),
        name: set.name,
        effort,
        cores,
        stopped: Stopped(stopped),
        metrics: Vec::new(),
        remarks: Vec::new(),
    };
    let taken = panic::catch_unwind(AssertUnwindSafe(|| (set.take)(&mut figures)));
    let ended = taken.map_err(|panic| text_of(&*panic));
    (figures.metrics, figures.remarks, ended)
}

/// A table of `metrics`, which are all of one set: subjects by what was taken, goals last and whether ours meets them.
pub(crate) fn render(metrics: &[Metric]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    for metric in metrics {
        if !columns.contains(&&*metric.metric) {
            columns.push(&metric.metric);
        }
        if metric.subject != GOAL && !subjects.contains(&&*metric.subject) {
            subjects.push(&metric.subject);
        }
    }
    let find = |subject: &str, column: &str| {
        let same = |metric: &&Metric| metric.subject == subject && metric.metric == column;
        metrics.iter().find(same)
    };
    let cell = |subject: &str, column: &str| {
        find(subject, column).map_or_else(String::new, |metric| value(metric.value, &metric.unit))
    };
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(columns.iter().map(|column| column.replace('_', " ")));
    for subject in &subjects {
        let mut row = vec![(*subject).to_owned()];
        row.extend(columns.iter().map(|column| cell(subject, column)));
        rows.push(row);
    }
    if metrics.iter().any(|metric| metric.subject == GOAL) {
        let mut row = vec![GOAL.to_owned()];
        row.extend(columns.iter().map(|column| {
            let Some(goal) = find(GOAL, column) else {
                return String::new();
            };
            let ours = metrics
                .iter()
                .find(|metric| metric.subject == metric.suite && metric.metric == *column);
            let met = ours.map_or("", |ours| match ours.value <= goal.value {
                true => " met",
                false => " MISSED",
            });
            format!("<= {}{met}", value(goal.value, &goal.unit))
        }));
        rows.push(row);
    }
    aligned(&rows)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str("    ");
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn value(value: f64, unit: &str) -> String {
    match unit {
        "ns" => crate::table::time(value),
        "count" => crate::table::number(value),
        "bytes" => format!("{} B", crate::table::number(value)),
        "times" => format!("{value:.3}"),
        unit => format!("{} {unit}", crate::table::number(value)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn taken(effort: Effort, by: impl FnOnce(&mut Figures<'_>) + 'static) -> (Vec<Metric>, String) {
        let set = Set {
            name: "chain".to_owned(),
            about: "a chain".to_owned(),
            least: Effort::Smoke,
            take: Box::new(by),
        };
        let cores = Cores::keep_to_one();
        let (metrics, remarks, ended) = take(set, "graph", effort, &cores, &|| false);
        let end = ended.err().unwrap_or_default();
        (metrics, remarks.join("\n") + &end)
    }

    #[test]
    fn goals_stand_below_what_was_reached() {
        let (metrics, _) = taken(Effort::Smoke, |figures| {
            figures.ours("run", "ns", &[900.0, 700.0, 1_100.0]);
            figures.ours("makespan", "times", &[1.02]);
            figures.peer("a peer", "run", "ns", &[1_500.0]);
            figures.goal("run", "ns", 1_000.0);
            figures.goal("makespan", "times", 1.01);
        });
        assert_eq!((metrics[0].low, metrics[0].high), (700.0, 1_100.0));
        expect![[r#"
            chain
                                   run         makespan
                graph           900 ns            1.020
                a-peer         1.50 us
                goal    <= 1.00 us met  <= 1.010 MISSED
        "#]]
        .assert_eq(&format!("chain\n{}", render(&metrics)));
    }

    #[test]
    fn what_was_taken_before_a_panic_is_kept() {
        let (metrics, end) = taken(Effort::Quick, |figures| {
            figures.ours("run", "ns", &[1.0]);
            figures.ours("nothing", "ns", &[]);
            assert!(figures.effort() < Effort::Quick, "no more of it");
        });
        assert_eq!(metrics.len(), 1);
        assert_eq!(end, "no more of it");
    }
}
