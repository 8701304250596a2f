//! What a start or a stop did and how long each part took, as data and as text for a terminal.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::error::NodeError;
use crate::render::{counted, human};

/// How a start went, node by node; `Display` draws it for a terminal.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) nodes: Vec<NodeReport>,
    pub(crate) critical_chain: Vec<usize>,
    pub(crate) took: Duration,
}

impl Report {
    /// Every node, in the order of [`Plan::nodes`](crate::Plan::nodes).
    pub fn nodes(&self) -> &[NodeReport] {
        &self.nodes
    }

    /// The nodes that decided how long the start took, first to last: from the node that was ready last back over the
    /// dependency that arrived last at each.
    pub fn critical_chain(&self) -> impl ExactSizeIterator<Item = &NodeReport> {
        self.critical_chain.iter().map(|index| &self.nodes[*index])
    }

    /// From the call of [`Graph::start`](crate::Graph::start) until everything was ready.
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// One node of a [`Report`]; all times are measured from the begin of the start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeReport {
    /// The name of the node.
    pub name: Cow<'static, str>,
    /// The label that groups it for display.
    pub stage: Option<Cow<'static, str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it waited until its last dependency was settled.
    pub waited: Duration,
    /// When its initialiser began; later than `waited` only by what the scheduler took.
    pub started_at: Duration,
    /// The time of its own initialiser, without any waiting for dependencies.
    pub took: Duration,
    /// The name of the dependency that was settled last.
    pub waited_for: Option<Cow<'static, str>>,
}

/// How one node ended its part in a successful start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A value, which was there from the start.
    Value,
    /// The initialiser succeeded.
    Ready,
    /// The initialiser of an optional component failed.
    Failed,
    /// An optional dependency fell away before its turn.
    Skipped,
}

/// How a stop went.
#[derive(Debug)]
pub struct StopReport {
    pub(crate) stopped: usize,
    pub(crate) failures: Vec<NodeError>,
    pub(crate) abandoned: Vec<Cow<'static, str>>,
    pub(crate) took: Duration,
}

impl StopReport {
    /// How many nodes were stopped, those with failures included.
    pub fn stopped(&self) -> usize {
        self.stopped
    }

    /// Every stop hook that failed, panicked or ran out of time.
    pub fn failures(&self) -> &[NodeError] {
        &self.failures
    }

    /// The names of components whose code blocked its thread for so long that the stop went on without them.
    pub fn abandoned(&self) -> &[Cow<'static, str>] {
        &self.abandoned
    }

    /// From the begin of the stop to its end.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Whether everything stopped without an error.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.abandoned.is_empty()
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stopped {} in {}",
            counted(self.stopped, "node"),
            human(self.took)
        )?;
        for failure in &self.failures {
            write!(f, "\n  {failure}")?;
            if let Some(source) = std::error::Error::source(failure) {
                write!(f, ": {source}")?;
            }
        }
        for name in &self.abandoned {
            write!(f, "\n  `{name}` blocked its thread and was abandoned")?;
        }
        Ok(())
    }
}
