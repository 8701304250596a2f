//! One run of a graph: the values, the times and the failures that start, stop and report share.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::component::{Body, Component, Initialiser, Value};
use crate::core::{Core, Phase, lock};
use crate::csr::Csr;
use crate::error::NodeError;
use crate::plan::NodeId;
use crate::report::{NodeReport, Outcome, Report};
use crate::telemetry::Telemetry;
use crate::wiring::{Wire, Wiring};

/// Everything is indexed by [`NodeId`].
pub(crate) struct Run {
    pub(crate) core: Arc<Core>,
    pub(crate) steps: Box<[Step]>,
    pub(crate) dependencies: Csr,
    pub(crate) providers: HashMap<TypeId, NodeId>,
    pub(crate) failures: Mutex<Vec<NodeError>>,
    pub(crate) telemetry: Telemetry,
    pub(crate) begun: Instant,
    /// Of the runtime that the start was called on; the stop runs there as well.
    pub(crate) runtime: Handle,
}

/// What the executor keeps of one node.
pub(crate) struct Step {
    /// `None` for a value, which has nothing to run.
    pub(crate) init: Option<Initialiser>,
    pub(crate) needs: Box<[Wire]>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) value: Mutex<Option<Value>>,
    pub(crate) times: OnceLock<Times>,
}

/// When a node began and was settled, since the begin of the start.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) began: Duration,
    pub(crate) settled: Duration,
}

impl Run {
    pub(crate) fn new(
        core: Arc<Core>,
        components: Vec<Component>,
        wiring: Wiring,
        begun: Instant,
        runtime: Handle,
    ) -> Self {
        let telemetry = Telemetry::new(&core.plan);
        let mut components: Vec<_> = components.into_iter().map(Some).collect();
        let parts = wiring.components.iter().zip(wiring.needs);
        let steps = parts
            .filter_map(|(at, needs)| Some(Step::new(components[*at as usize].take()?, needs)))
            .collect();
        Self {
            core,
            steps,
            dependencies: wiring.dependencies,
            providers: wiring.providers,
            failures: Mutex::default(),
            telemetry,
            begun,
            runtime,
        }
    }

    pub(crate) fn value(&self, id: NodeId) -> Option<Value> {
        lock(&self.steps[id.index()].value).clone()
    }

    /// The time since the start began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn report(&self, took: Duration) -> Report {
        let nodes = self
            .core
            .plan
            .nodes()
            .iter()
            .map(|node| self.node_report(node.id))
            .collect();
        Report {
            nodes,
            critical_chain: self.critical_chain(),
            took,
        }
    }

    fn node_report(&self, id: NodeId) -> NodeReport {
        let node = self.core.plan.node(id);
        let (began, settled) = self.times(id);
        let last = self.last_dependency(id);
        NodeReport {
            name: node.name.clone(),
            stage: node.stage.clone(),
            outcome: match self.core.phase(id) {
                _ if node.value => Outcome::Value,
                Phase::Ready => Outcome::Ready,
                Phase::Skipped => Outcome::Skipped,
                _ => Outcome::Failed,
            },
            waited: last.map_or(Duration::ZERO, |last| self.times(last).1),
            started_at: began,
            took: settled.saturating_sub(began),
            waited_for: last.map(|last| self.core.plan.node(last).name.clone()),
        }
    }

    /// From the node that was settled last back over the dependency that arrived last at each; values decide nothing.
    fn critical_chain(&self) -> Vec<usize> {
        let ids = self
            .core
            .plan
            .nodes()
            .iter()
            .filter(|node| !node.value)
            .map(|node| node.id);
        let mut next = ids.min_by_key(|id| std::cmp::Reverse(self.times(*id).1));
        let mut chain = Vec::new();
        while let Some(id) = next {
            chain.push(id.index());
            next = self
                .last_dependency(id)
                .filter(|last| !self.core.plan.node(*last).value);
        }
        chain.reverse();
        chain
    }

    /// The dependency that was settled last; the first of several.
    fn last_dependency(&self, id: NodeId) -> Option<NodeId> {
        let dependencies = self.core.plan.node(id).dependencies.iter().copied();
        dependencies.min_by_key(|dependency| std::cmp::Reverse(self.times(*dependency).1))
    }

    fn times(&self, id: NodeId) -> (Duration, Duration) {
        self.steps[id.index()]
            .times
            .get()
            .map_or_else(Default::default, |times| (times.began, times.settled))
    }
}

impl Step {
    fn new(component: Component, needs: Box<[Wire]>) -> Self {
        let (init, value) = match component.body {
            Body::Init(init) => (Some(init), None),
            Body::Value(value) => (None, Some(value)),
        };
        let (timeout, stop_timeout) = (component.timeout, component.stop_timeout);
        Self {
            init,
            needs,
            timeout,
            stop_timeout,
            value: Mutex::new(value),
            times: OnceLock::new(),
        }
    }
}
