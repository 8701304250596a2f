//! In which order a start takes its nodes and how many at once: what the options of a graph mean for its walk.

use std::collections::HashMap;

use super::forecast;
use super::limits::{FREE, Limits};
use super::ready::Ranks;
use super::starter::Starter;
use super::walk::Way;
use crate::class::Class;
use crate::component::Body;
use crate::options::Options;
use crate::plan::NodeId;
use crate::rank::{Expectation, ranks};
use crate::run::Run;

/// The way of a whole start.
pub(super) fn way(starter: &Starter) -> Way {
    let run = &starter.run;
    let nodes = run.core.plan.nodes();
    let mut way = Way::new(starter, nodes.len());
    for node in nodes.iter().filter(|node| node.lazy) {
        way.defer(node.id);
    }
    bounded(starter, way)
}

/// The way of a start of the nodes `within` only, while all others run.
pub(crate) fn way_of(starter: &Starter, within: impl Fn(NodeId) -> bool) -> Way {
    let nodes = starter.run.core.plan.nodes().len();
    bounded(starter, Way::among(starter, nodes, within))
}

/// With the limits of classes, and the order that they make a difference for.
fn bounded(starter: &Starter, way: Way) -> Way {
    let run = &starter.run;
    let Some((class_of, limits)) = classes(run) else {
        // Without limits nobody waits for anybody, and an order among those that are free means nothing.
        return way;
    };
    let permits = |ranks: Ranks| {
        let overall = run.settings.concurrency;
        Limits::new(class_of.clone(), &limits, overall, ranks)
    };
    let ranks = match ranks_of(run) {
        ranks if ranks.are_given() && is_better_in_order(run, &permits, &ranks) => Ranks::default(),
        ranks => ranks,
    };
    way.ranked(ranks.clone()).limited(permits(ranks))
}

fn is_better_in_order(
    run: &Run,
    permits: &impl Fn(Ranks) -> Option<Limits>,
    ranks: &Ranks,
) -> bool {
    match (permits(Ranks::default()), permits(ranks.clone())) {
        (Some(in_order), Some(ranked)) => forecast::is_better_in_order(run, &in_order, &ranked),
        _ => false,
    }
}

/// Of each node, as an index.
type ClassOf = Box<[u16]>;

/// The class of each node and the limit of each class; `None` where there are no limits.
fn classes(run: &Run) -> Option<(ClassOf, Vec<Option<usize>>)> {
    let mut limits = vec![run.settings.limit(&Class::IO)];
    let mut known: HashMap<&Class, u16> = HashMap::from([(&Class::IO, 0)]);
    let bounded = run.settings.concurrency.is_some();
    let class_of = run.steps.iter().map(|step| {
        if let Body::Value(_) | Body::Point = step.body {
            return FREE;
        }
        let Some(class) = &step.options().class else {
            return 0;
        };
        *known.entry(class).or_insert_with(|| {
            limits.push(run.settings.limit(class));
            // More classes than that share the limit of the last.
            u16::try_from(limits.len() - 1).unwrap_or(FREE - 1)
        })
    });
    let class_of = class_of.collect();
    (bounded || limits.iter().any(Option::is_some)).then_some((class_of, limits))
}

fn ranks_of(run: &Run) -> Ranks {
    let plan = &run.core.plan;
    let earlier = run.earlier.get();
    let expectation = |id: u32| {
        let node = plan.node(NodeId(id));
        let options: &Options = run.steps[node.id.index()].options();
        let usual = earlier.and_then(|history| history.usual(node.name()));
        Expectation {
            time: usual.map(|(time, _)| time).or(options.expected),
            priority: options.priority,
            background: node.background,
        }
    };
    let unknown = earlier.and_then(|history| history.expected_of_unknown());
    ranks(plan.rows(), expectation, unknown).map_or_else(Ranks::default, Ranks::new)
}
