//! One node of a report: how it ended, what it waited for, how long it took and what that meant for the whole.

use std::fmt;
use std::time::Duration;

use crate::class::Class;
use crate::plan::{Node, NodeId};
use crate::report::Report;

/// One node of a [`Report`]; points in time are counted from the begin of the start.
#[derive(Clone, Copy)]
pub struct NodeReport<'a> {
    pub(super) report: &'a Report,
    pub(super) node: u32,
}

/// How far a node came in a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A value, which was there from the start.
    Value,
    /// The initialiser succeeded.
    Ready,
    /// The initialiser failed, in its last attempt if there were several.
    Failed,
    /// Its condition was false, or a dependency that it cannot do without fell away.
    Skipped,
    /// It was dropped while it ran, because the start was given up.
    Cancelled,
    /// It was still starting, or waiting to, when the report was made: a component in the background, or one behind the
    /// milestone that the start waited for.
    Unfinished,
    /// Only `Lazy` reaches it, and nobody has asked for it.
    Unasked,
}

impl Outcome {
    /// Whether the node came to an end.
    pub(crate) fn is_settled(self) -> bool {
        !matches!(self, Self::Unfinished | Self::Unasked)
    }

    /// In one word, as in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Unfinished => "unfinished",
            Self::Unasked => "unasked",
        }
    }
}

impl<'a> NodeReport<'a> {
    /// The identity of the node within the plan.
    pub fn id(&self) -> NodeId {
        NodeId(self.node)
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.plan_node().name()
    }

    /// The label that groups it for display.
    pub fn stage(&self) -> Option<&'a str> {
        self.plan_node().stage()
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.report.record(self.node).outcome
    }

    /// How long it waited until its last dependency was settled; of a component behind `Lazy`, until it was asked for.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.report.record(self.node).free_at)
    }

    /// The dependency that was settled last, the first of several; `None` without dependencies.
    pub fn waited_for(&self) -> Option<Self> {
        let dependencies = self.report.dependencies(self.node).iter();
        let last =
            dependencies.min_by_key(|id| std::cmp::Reverse(self.report.record(id.0).settled));
        last.map(|id| Self {
            node: id.0,
            ..*self
        })
    }

    /// How long it waited for permits of its class, before all attempts together.
    pub fn queued(&self) -> Duration {
        Duration::from_nanos(self.report.record(self.node).queued)
    }

    /// The class whose limit it kept to; `None` where there is no limit.
    pub fn limited_by(&self) -> Option<&'a Class> {
        let place = self.report.record(self.node).limit()?;
        self.report.limits().get(place).map(|(class, _)| class)
    }

    /// How often the initialiser was called; 0 for a value and for what never began.
    pub fn attempts(&self) -> u32 {
        self.report.record(self.node).attempts
    }

    /// The waits between its attempts, all together.
    pub fn backoff(&self) -> Duration {
        Duration::from_nanos(self.report.record(self.node).backoff)
    }

    /// The time of all its attempts, without the waits before and between them and without waiting for what it asked a
    /// `Lazy` for.
    pub fn own(&self) -> Duration {
        let own = self.report.record(self.node).own;
        Duration::from_nanos(own.saturating_sub(self.report.waited_inside(self.node)))
    }

    /// When its first attempt began.
    pub fn started_at(&self) -> Duration {
        Duration::from_nanos(self.report.record(self.node).began)
    }

    /// When it ended; for one that had not, when the report was made.
    pub fn settled_at(&self) -> Duration {
        Duration::from_nanos(self.report.record(self.node).settled)
    }

    /// From the begin of its first attempt to the end of the last, with everything between.
    pub fn took(&self) -> Duration {
        self.settled_at().saturating_sub(self.started_at())
    }

    /// The time of its stop hooks; `None` when the report was made before it stopped.
    pub fn stopped(&self) -> Option<Duration> {
        self.report.record(self.node).stopped()
    }

    /// How much later it could have ended without delaying the end of the start, all else being as it was; `None` when
    /// the start did not wait for it: it runs in the background, or was not settled.
    pub fn slack(&self) -> Option<Duration> {
        self.report
            .analysis()
            .slack(self.node)
            .map(Duration::from_nanos)
    }

    /// How much sooner the start would have ended if this node had taken no time, all else being as it was: the waits for
    /// permits, above all, are taken to stay. Zero for a node with slack.
    ///
    /// Exact. The first call works it out for all nodes, in O((V + E) log V); a node that waited for a `Lazy` costs a
    /// pass over the graph each time.
    pub fn drag(&self) -> Duration {
        Duration::from_nanos(self.report.analysis().drag(self.node))
    }

    pub(super) fn plan_node(&self) -> &'a Node {
        self.report.plan_node(self.node)
    }
}

impl fmt::Debug for NodeReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeReport")
            .field("name", &self.name())
            .field("outcome", &self.outcome())
            .field("started_at", &self.started_at())
            .field("own", &self.own())
            .finish_non_exhaustive()
    }
}
