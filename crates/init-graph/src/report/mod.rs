//! How a start went: what each node waited for and how long it took, and what that says about the whole.

mod activity;
mod analysis;
mod collect;
mod compare;
mod drag;
mod node;
mod record;
mod stop;
mod text;
mod totals;

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod trace;

#[cfg(test)]
pub(crate) mod fixture;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use self::compare::{Comparison, Slower};
pub use self::node::{NodeReport, Outcome};
pub(crate) use self::record::{LazyUse, NodeRecord};
pub use self::stop::StopReport;

use self::activity::{Activities, dependencies};
use self::analysis::Analysis;
use self::record::Record;
use crate::class::Class;
use crate::failure::Failure;
use crate::history::History;
use crate::plan::{Node, NodeId, Plan};

/// How a start went, node by node, and what that says about the whole; a cheap clone.
///
/// `Display` draws it for a terminal of 100 columns. It is made without any computing; chains, slack and bounds are
/// worked out when they are first asked for, in time and memory proportional to the graph.
///
/// That of a start which went well is from [`Handle::report`](crate::Handle::report), that of one which did not from
/// [`GraphError::report`](crate::GraphError::report).
///
/// What to make faster first is the node with the most [drag](NodeReport::drag); what has [slack](NodeReport::slack) can
/// wait:
///
/// ```
/// use std::time::Duration;
/// use init_graph::{BoxError, Graph};
/// use tokio::time::sleep;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> init_graph::Result<()> {
/// let mut graph = Graph::new();
/// for (name, millis) in [("cache", 10), ("database", 40)] {
///     let connect = move || async move {
///         sleep(Duration::from_millis(millis)).await;
///         Ok::<_, BoxError>(())
///     };
///     graph.add(connect).named(name);
/// }
/// let running = graph.start().await?;
/// let report = running.report();
/// let first = report.nodes().max_by_key(|node| node.drag());
/// assert_eq!(first.map(|node| node.name()), Some("database"));
/// let cache = report.node("cache").ok_or("it was added above")?;
/// assert!(cache.slack() > Some(Duration::ZERO));
/// # running.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Report {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    records: Box<[Record]>,
    analysis: OnceLock<Analysis>,
}

/// What a report is made of besides the records of the nodes.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) took: Duration,
    /// Whether the start succeeded.
    pub(crate) succeeded: bool,
    /// The milestone that the start waited for, where it did not wait for everything.
    pub(crate) goal: Option<NodeId>,
    pub(crate) lazy: Vec<LazyUse>,
    /// The classes with a limit.
    pub(crate) limits: Vec<(Class, usize)>,
    /// The limit on all components together.
    pub(crate) concurrency: Option<usize>,
    /// Of the components that failed by themselves and were tolerated.
    pub(crate) failures: Vec<Failure>,
    /// Earlier starts, to compare this one with.
    pub(crate) earlier: Option<Arc<History>>,
}

impl Report {
    /// `records` are those of the plan's nodes, in their order.
    pub(crate) fn new(parts: Parts, records: impl IntoIterator<Item = NodeRecord>) -> Self {
        let records: Box<[Record]> = records.into_iter().map(Record::from).collect();
        debug_assert_eq!(records.len(), parts.plan.nodes().len());
        let analysis = OnceLock::new();
        Self {
            inner: Arc::new(Inner {
                parts,
                records,
                analysis,
            }),
        }
    }

    /// Every node, in the order of [`Plan::nodes`](crate::Plan::nodes).
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeReport<'_>> {
        (0..self.inner.records.len() as u32).map(|node| self.at(node))
    }

    /// The node of this name; `None` when there is none. Looks through all of them.
    pub fn node(&self, name: &str) -> Option<NodeReport<'_>> {
        self.nodes().find(|node| node.name() == name)
    }

    /// From the call of [`Graph::start`](crate::Graph::start) until everything that it waits for was settled.
    pub fn took(&self) -> Duration {
        self.inner.parts.took
    }

    /// What was started.
    pub fn plan(&self) -> &Plan {
        &self.inner.parts.plan
    }

    /// The nodes that took the longest by themselves, most first; values and what never began are left out.
    ///
    /// Only a node's own time counts: that of its attempts, without waiting for dependencies, for a permit, for the next
    /// attempt and for what it asked a `Lazy` for.
    pub fn blame(&self) -> Vec<NodeReport<'_>> {
        let mut nodes: Vec<_> = self.nodes().filter(|node| node.attempts() > 0).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.own()));
        nodes
    }

    /// The nodes that decided how long the start took, first to last: from the node that the start ended with back over
    /// the dependency that arrived last at each. Values, which were there before, are left out.
    ///
    /// A component that another one asked for by `Lazy`, and waited for, stands before that one. Of a start that was given
    /// up, the chain leads to the failure that ended it, or else to what it still waited for.
    pub fn critical_chain(&self) -> Vec<NodeReport<'_>> {
        let chain = self.analysis().chain().into_iter();
        chain
            .map(|node| self.at(node))
            .filter(|node| node.outcome() != Outcome::Value)
            .collect()
    }

    /// The components that failed by themselves and were tolerated, because they are optional or the policy is
    /// [`KeepGoing`](crate::Policy::KeepGoing); what was only skipped because of them is left out. Of a start that was
    /// given up, those that ended it as well.
    pub fn failures(&self) -> &[Failure] {
        &self.inner.parts.failures
    }

    /// Whether the start went well, apart from failures that were tolerated.
    pub(crate) fn succeeded(&self) -> bool {
        self.inner.parts.succeeded
    }

    pub(crate) fn limits(&self) -> &[(Class, usize)] {
        &self.inner.parts.limits
    }

    pub(crate) fn goal(&self) -> Option<NodeReport<'_>> {
        self.inner.parts.goal.map(|node| self.at(node.0))
    }

    fn at(&self, node: u32) -> NodeReport<'_> {
        NodeReport { report: self, node }
    }

    fn record(&self, node: u32) -> &Record {
        &self.inner.records[node as usize]
    }

    fn plan_node(&self, node: u32) -> &Node {
        self.plan().node(NodeId(node))
    }

    fn dependencies(&self, node: u32) -> &[NodeId] {
        dependencies(self.plan(), node)
    }

    fn analysis(&self) -> &Analysis {
        self.inner.analysis.get_or_init(|| {
            let Inner { parts, records, .. } = &*self.inner;
            let foreground = self.foreground();
            let awaited = |node| {
                let meant = match parts.goal {
                    Some(goal) => goal.0 == node,
                    None => foreground[node as usize],
                };
                meant && records[node as usize].outcome.is_settled()
            };
            let fatal = |node| {
                let tolerated =
                    self.plan_node(node).is_optional() || self.plan_node(node).is_lazy();
                !parts.succeeded && !tolerated && records[node as usize].outcome == Outcome::Failed
            };
            let activities = Activities::new(&parts.plan, records, &parts.lazy);
            Analysis::new(activities, awaited, fatal, records.len() as u32)
        })
    }

    /// Per node whether a start without a goal waits for it: not for the background, nor for what stands behind that.
    fn foreground(&self) -> Vec<bool> {
        let mut foreground: Vec<bool> = Vec::with_capacity(self.inner.records.len());
        for node in self.plan().nodes() {
            let mut before = self.dependencies(node.id().0).iter();
            let itself = !node.is_background() && !node.is_lazy();
            foreground.push(itself && before.all(|other| foreground[other.index()]));
        }
        foreground
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("took", &self.took())
            .field("nodes", &self.inner.records.len())
            .finish_non_exhaustive()
    }
}
