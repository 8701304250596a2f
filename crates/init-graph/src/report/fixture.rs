//! Reports made by hand, for the tests of what reports say.

use std::sync::Arc;
use std::time::Duration;

use crate::class::Class;
use crate::failure::Failure;
use crate::history::History;
use crate::plan::{Node, NodeId, Plan};
use crate::report::{LazyUse, NodeRecord, Outcome, Parts, Report};
use crate::wiring::Csr;

/// A start as told node by node; times are milliseconds.
#[derive(Default)]
pub(crate) struct Scene {
    nodes: Vec<Node>,
    edges: Vec<(NodeId, NodeId)>,
    records: Vec<NodeRecord>,
    pub(crate) lazy: Vec<LazyUse>,
    pub(crate) limits: Vec<(Class, usize)>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) goal: Option<NodeId>,
    pub(crate) earlier: Option<Arc<History>>,
    pub(crate) failed: bool,
    /// Otherwise the latest end.
    pub(crate) took: Option<u64>,
}

impl Scene {
    /// A component that ran once, from `began` to `settled`; it was free when the last of its dependencies was settled.
    pub(crate) fn ran(
        &mut self,
        name: impl Into<String>,
        dependencies: &[u32],
        began: u64,
        settled: u64,
    ) -> &mut NodeRecord {
        let id = self.nodes.len() as u32;
        self.nodes.push(Node::plain(id, name.into()));
        self.edges.extend(
            dependencies
                .iter()
                .map(|other| (NodeId(id), NodeId(*other))),
        );
        let ends = dependencies
            .iter()
            .map(|other| self.records[*other as usize].settled);
        self.records.push(NodeRecord {
            outcome: Outcome::Ready,
            free_at: ends.max().unwrap_or_default(),
            began: ms(began),
            settled: ms(settled),
            attempts: 1,
            own: ms(settled.saturating_sub(began)),
            backoff: Duration::ZERO,
            queued: Duration::ZERO,
            stopped: None,
            limit: None,
        });
        self.records
            .last_mut()
            .expect("a record was pushed in the line above")
    }

    pub(crate) fn value(&mut self, name: &str) {
        let record = self.ran(name, &[], 0, 0);
        record.outcome = Outcome::Value;
        record.attempts = 0;
        self.last().value = true;
    }

    /// What never ran, with when it was settled.
    pub(crate) fn idle(
        &mut self,
        name: &str,
        dependencies: &[u32],
        outcome: Outcome,
        settled: u64,
    ) -> &mut Node {
        let record = self.ran(name, dependencies, settled, settled);
        record.outcome = outcome;
        record.attempts = 0;
        self.last()
    }

    /// The node that was added last.
    pub(crate) fn last(&mut self) -> &mut Node {
        self.nodes.last_mut().expect("a node was added before")
    }

    pub(crate) fn lazy(&mut self, owner: u32, target: u32, asked: u64) {
        self.lazy.push(LazyUse {
            owner: NodeId(owner),
            target: NodeId(target),
            asked: ms(asked),
        });
    }

    pub(crate) fn report(self) -> Report {
        let latest = self
            .records
            .iter()
            .map(|record| record.settled)
            .max()
            .unwrap_or_default();
        let parts = Parts {
            plan: Plan::new(self.nodes.clone(), Csr::new(self.nodes.len(), &self.edges)),
            took: self.took.map_or(latest, ms),
            succeeded: !self.failed,
            goal: self.goal,
            lazy: self.lazy,
            limits: self.limits,
            concurrency: self.concurrency,
            failures: self.failures,
            earlier: self.earlier,
        };
        Report::new(parts, self.records)
    }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
