//! What a graph leaves in metrics, through the `metrics` facade: an observer of the graph like others, but one that
//! hears first and does nothing while nodes hurry past.
//!
//! Handles are made once, when the plan is heard, so the recorder has to be installed by then; those of nodes at the end
//! of the start, since making them costs more than running a small node.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::event::Event;
use crate::guard::quietly;
use crate::plan::{Node, Plan};

/// How long the initialiser of each component took in its latest start; only of graphs of up to [`NODES_MAX`] nodes.
const NODE_SECONDS: &str = "init_graph_node_seconds";
/// How long the latest start took as a whole.
const START_SECONDS: &str = "init_graph_start_seconds";
/// How long the latest stop took as a whole.
const STOP_SECONDS: &str = "init_graph_stop_seconds";
/// Attempts that failed and were followed by a wait for another one.
const RETRIES: &str = "init_graph_retries_total";
/// Components that failed, optional ones included.
const FAILURES: &str = "init_graph_failures_total";
/// Components whose stop failed or was not waited for any longer.
const STOP_FAILURES: &str = "init_graph_stop_failures_total";
/// Restarts of parts of the running graph.
const RESTARTS: &str = "init_graph_restarts_total";

/// A label value for each of more nodes would be too much for what stores the series.
const NODES_MAX: usize = 1_000;

pub(crate) struct Metrics {
    nodes: Option<Nodes>,
    start: Gauge,
    stop: Gauge,
    retries: Counter,
    failures: Counter,
    stop_failures: Counter,
    restarts: Counter,
}

impl Metrics {
    pub(crate) fn new(plan: &Plan) -> Self {
        describe();
        Self {
            nodes: Nodes::new(plan),
            start: gauge!(START_SECONDS),
            stop: gauge!(STOP_SECONDS),
            retries: counter!(RETRIES),
            failures: counter!(FAILURES),
            stop_failures: counter!(STOP_FAILURES),
            restarts: counter!(RESTARTS),
        }
    }

    /// Inlined, so that the events of every node cost what is written here and no call.
    #[inline]
    pub(crate) fn hear(&self, event: &Event<'_>) {
        match event {
            Event::Ready { node, took } => {
                if let Some(nodes) = &self.nodes {
                    nodes.took(node, *took);
                }
            }
            Event::Queued { .. }
            | Event::Starting { .. }
            | Event::Advanced { .. }
            | Event::Skipped { .. }
            | Event::Stopping { .. }
            | Event::Stopped { .. } => {}
            // A recorder is foreign code.
            rare => {
                quietly(|| self.hear_rare(rare));
            }
        }
    }

    #[cold]
    fn hear_rare(&self, event: &Event<'_>) {
        match event {
            Event::Retrying { .. } => self.retries.increment(1),
            Event::Failed { .. } => self.failures.increment(1),
            Event::StopFailed { .. } | Event::Abandoned { .. } => self.stop_failures.increment(1),
            Event::Restarting { .. } => self.restarts.increment(1),
            Event::Started { took } => self.start.set(took.as_secs_f64()),
            Event::Finished { took } => self.stop.set(took.as_secs_f64()),
            _ => {}
        }
    }

    /// Sets the gauges of all nodes that were ready so far; those that become so later are set at once.
    ///
    /// Making the gauges takes longer than starting small nodes, so whoever waits for the start is told first.
    pub(crate) fn publish(&self) {
        if let Some(nodes) = &self.nodes {
            quietly(|| nodes.publish());
        }
    }
}

/// The times of nodes: gathered during the start, published at its end, and from then on as they come.
struct Nodes {
    plan: Plan,
    /// Nanoseconds and one; 0 for none yet.
    times: Box<[AtomicU64]>,
    gauges: OnceLock<Box<[Gauge]>>,
}

impl Nodes {
    fn new(plan: &Plan) -> Option<Self> {
        (plan.nodes().len() <= NODES_MAX).then(|| Self {
            plan: plan.clone(),
            times: plan.nodes().iter().map(|_| AtomicU64::new(0)).collect(),
            gauges: OnceLock::new(),
        })
    }

    #[inline]
    fn took(&self, node: &Node, took: Duration) {
        // Values take no time, so a series of each would say nothing.
        if node.is_value() {
            return;
        }
        let Some(time) = self.times.get(node.id().index()) else {
            return;
        };
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        time.store(nanos.saturating_add(1), Ordering::Relaxed);
        if self.gauges.get().is_some() {
            quietly(|| self.publish_one(node));
        }
    }

    fn publish(&self) {
        let make = |node: &Node| match node.is_value() {
            true => Gauge::noop(),
            false => gauge!(NODE_SECONDS, "node" => node.name.clone()),
        };
        self.gauges
            .get_or_init(|| self.plan.nodes().iter().map(make).collect());
        self.plan
            .nodes()
            .iter()
            .for_each(|node| self.publish_one(node));
    }

    fn publish_one(&self, node: &Node) {
        let at = node.id().index();
        let Some(gauges) = self.gauges.get() else {
            return;
        };
        if let Some(nanos) = self.times[at].load(Ordering::Relaxed).checked_sub(1) {
            gauges[at].set(Duration::from_nanos(nanos).as_secs_f64());
        }
    }
}

fn describe() {
    describe_gauge!(
        NODE_SECONDS,
        Unit::Seconds,
        "Time of a component's own initialiser in its latest start"
    );
    describe_gauge!(
        START_SECONDS,
        Unit::Seconds,
        "Time of the latest start as a whole"
    );
    describe_gauge!(
        STOP_SECONDS,
        Unit::Seconds,
        "Time of the latest stop as a whole"
    );
    describe_counter!(
        RETRIES,
        Unit::Count,
        "Failed attempts of components that were followed by another one"
    );
    describe_counter!(
        FAILURES,
        Unit::Count,
        "Components that failed to start, optional ones included"
    );
    describe_counter!(
        STOP_FAILURES,
        Unit::Count,
        "Components that failed to stop or were left behind"
    );
    describe_counter!(
        RESTARTS,
        Unit::Count,
        "Restarts of parts of a running graph"
    );
}
