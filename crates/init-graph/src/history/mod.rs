//! What earlier starts took, component by component: the last 20 of them, bounded in size.

#[cfg(feature = "history")]
mod file;
#[cfg(feature = "history")]
mod line;
#[cfg(feature = "history")]
mod of_run;
#[cfg(not(feature = "history"))]
#[path = "without.rs"]
mod of_run;

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

#[cfg(feature = "history")]
pub use self::file::HistoryError;
pub(crate) use self::of_run::{read, write, written};

use crate::report::{Outcome, Report};

/// What earlier starts took, component by component.
///
/// [`Graph::history`](crate::Graph::history) keeps one in a file, for the order of starting and for the comparison in the
/// report. Tools may read that file with [`History::load`]. Components are known by their names.
///
/// Bounded: the last 20 starts, at most 5 of them failed ones, of each the 2,000 components that took longest, names up
/// to 120 bytes.
///
/// ```
/// use init_graph::{Graph, History};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> init_graph::Result<()> {
/// let mut history = History::new();
/// for _ in 0..3 {
///     let mut graph = Graph::new();
///     graph.add(async || Ok::<_, init_graph::BoxError>(7_u32)).named("port");
///     let running = graph.start().await?;
///     assert!(running.report().compare(&history).slower.is_empty());
///     history.record(&running.report());
///     running.shutdown().await?;
/// }
/// assert_eq!(history.runs().len(), 3);
/// assert!(history.expected("port").is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    runs: VecDeque<PastRun>,
    usual: OnceLock<Usual>,
}

/// One earlier start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastRun {
    /// A hash of the names and edges of the graph.
    pub graph: u64,
    /// Whether the start succeeded.
    pub started: bool,
    /// How long it took.
    pub took: Duration,
    /// The components that ran, those that took longest if there were too many, in start order.
    pub nodes: Vec<PastNode>,
    /// How many components ran but are not in `nodes`, since they took less than those.
    pub left_out: u64,
}

/// One component of an earlier start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastNode {
    /// Its name, cut after 120 bytes.
    pub name: String,
    /// The time of its own attempts.
    pub own: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// Medians over all runs.
#[derive(Clone, Debug, Default)]
struct Usual {
    nodes: HashMap<String, (Duration, usize)>,
    /// Of a component that no run knows.
    unknown: Option<Duration>,
}

impl History {
    /// A history without any start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a start; the oldest goes when there are 20 already.
    pub fn record(&mut self, report: &Report) {
        self.push(PastRun::new(report));
    }

    /// The earlier starts, oldest first.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = &PastRun> {
        self.runs.iter()
    }

    /// The median of the own times of the component of this name, over all starts in which it became ready.
    pub fn expected(&self, name: &str) -> Option<Duration> {
        self.usual(name).map(|(median, _)| median)
    }

    /// The median of the own times of a component, and over how many starts.
    pub(crate) fn usual(&self, name: &str) -> Option<(Duration, usize)> {
        self.medians().nodes.get(key(name)).copied()
    }

    /// What to expect of a component that is not known: it is new, or too quick to have been written down.
    pub(crate) fn expected_of_unknown(&self) -> Option<Duration> {
        self.medians().unknown
    }

    /// The median of how long successful starts of the graph of this hash took.
    pub(crate) fn usual_took(&self, graph: u64) -> Option<Duration> {
        let runs = self
            .runs
            .iter()
            .filter(|run| run.started && run.graph == graph);
        median(&mut runs.map(|run| run.took).collect::<Vec<_>>())
    }

    fn push(&mut self, run: PastRun) {
        // A service that fails over and over must not forget what its good starts took.
        let failed = self.runs.iter().filter(|run| !run.started).count();
        let oldest = self.runs.iter().position(|run| !run.started);
        if let Some(oldest) = oldest.filter(|_| !run.started && failed >= FAILED_MAX) {
            self.runs.remove(oldest);
        }
        while self.runs.len() >= RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
        self.usual = OnceLock::new();
    }

    fn medians(&self) -> &Usual {
        self.usual.get_or_init(|| {
            let mut times: HashMap<&str, Vec<Duration>> = HashMap::new();
            for node in self.runs.iter().flat_map(|run| &run.nodes) {
                if node.outcome == Outcome::Ready {
                    times.entry(&node.name).or_default().push(node.own);
                }
            }
            let nodes: HashMap<_, _> = times
                .into_iter()
                .filter_map(|(name, mut times)| {
                    Some((name.to_owned(), (median(&mut times)?, times.len())))
                })
                .collect();
            let mut all: Vec<_> = nodes.values().map(|(median, _)| *median).collect();
            let unknown = if self.runs.iter().any(|run| run.left_out > 0) {
                all.iter().min().copied()
            } else {
                median(&mut all)
            };
            Usual { nodes, unknown }
        })
    }
}

impl PastRun {
    fn new(report: &Report) -> Self {
        let mut ran: Vec<_> = report.nodes().filter(|node| node.attempts() > 0).collect();
        let left_out = ran.len().saturating_sub(NODES_MAX);
        if left_out > 0 {
            ran.select_nth_unstable_by_key(NODES_MAX, |node| {
                std::cmp::Reverse((node.own(), node.id()))
            });
            ran.truncate(NODES_MAX);
            ran.sort_unstable_by_key(|node| node.id());
        }
        let nodes = ran
            .into_iter()
            .map(|node| PastNode {
                name: key(node.name()).to_owned(),
                own: node.own(),
                outcome: node.outcome(),
            })
            .collect();
        Self {
            graph: report.fingerprint(),
            started: report.succeeded(),
            took: report.took(),
            nodes,
            left_out: left_out as u64,
        }
    }
}

/// The part of a name that components are known by.
fn key(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    let upper = *times.get(times.len() / 2)?;
    if times.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = times[times.len() / 2 - 1];
    Some(lower + (upper - lower) / 2)
}

const RUNS_MAX: usize = 20;
const FAILED_MAX: usize = 5;
const NODES_MAX: usize = 2_000;
const NAME_BYTES_MAX: usize = 120;
