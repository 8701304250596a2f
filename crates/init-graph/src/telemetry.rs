//! The metrics of a start, through the `metrics` facade.

use std::time::Duration;

use metrics::{Gauge, Unit, describe_gauge, gauge};

use crate::plan::{NodeId, Plan};

/// How long the initialiser of each component took in the latest start.
const NODE_SECONDS: &str = "init_graph_node_seconds";
/// How long the latest start took as a whole.
const START_SECONDS: &str = "init_graph_start_seconds";

/// Handles made once, before anything runs; the recorder has to be installed by then.
pub(crate) struct Telemetry {
    nodes: Box<[Option<Gauge>]>,
    start: Gauge,
}

impl Telemetry {
    pub(crate) fn new(plan: &Plan) -> Self {
        describe_gauge!(
            NODE_SECONDS,
            Unit::Seconds,
            "Time of a component's own initialiser in the latest start"
        );
        describe_gauge!(
            START_SECONDS,
            Unit::Seconds,
            "Time of the latest start as a whole"
        );
        // Values take no time, so a series of each would say nothing.
        let nodes = plan.nodes().iter();
        let nodes = nodes
            .map(|node| (!node.value).then(|| gauge!(NODE_SECONDS, "node" => node.name.clone())));
        Self {
            nodes: nodes.collect(),
            start: gauge!(START_SECONDS),
        }
    }

    pub(crate) fn node_took(&self, id: NodeId, took: Duration) {
        if let Some(gauge) = &self.nodes[id.index()] {
            gauge.set(took.as_secs_f64());
        }
    }

    pub(crate) fn start_took(&self, took: Duration) {
        self.start.set(took.as_secs_f64());
    }
}
