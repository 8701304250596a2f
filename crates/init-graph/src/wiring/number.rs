//! Gives every component its number in start order and lays out what a start works with.

use super::survey::Survey;
use super::{Csr, Wires, Wiring};
use crate::component::Body;
use crate::param::Kind;
use crate::plan::{EdgeKind, Node, NodeId, Plan};

/// Everything that a start needs.
pub(super) fn number(survey: &Survey<'_>) -> Wiring {
    let numbering = Numbering::new(survey);
    let plan = plan_of(survey, &numbering);
    let count = survey.components.len();
    let mut offsets = Vec::with_capacity(count + 1);
    let mut list = Vec::with_capacity(survey.resolved.len());
    for at in numbering.positions() {
        offsets.push(list.len() as u32);
        let wires = survey.resolved.of(at).iter();
        list.extend(wires.map(|wire| wire.numbered(|at| numbering.id(at))));
    }
    offsets.push(list.len() as u32);
    Wiring {
        components: numbering.positions().collect(),
        wires: Wires {
            offsets: offsets.into(),
            list: list.into(),
        },
        dependents: plan.rows().reversed(),
        providers: survey.offers.numbered(|at| numbering.id(at)),
        plan,
    }
}

pub(super) fn plan(survey: &Survey<'_>) -> Plan {
    plan_of(survey, &Numbering::new(survey))
}

/// From positions of adding to numbers and back.
struct Numbering<'s> {
    count: u32,
    /// `None` where both are the same.
    order: Option<&'s [u32]>,
    ids: Vec<NodeId>,
}

impl<'s> Numbering<'s> {
    fn new(survey: &'s Survey<'_>) -> Self {
        let order = survey.order.as_deref();
        let mut ids = vec![NodeId(0); order.map_or(0, <[u32]>::len)];
        for (id, at) in (0..).zip(order.unwrap_or_default()) {
            ids[*at as usize] = NodeId(id);
        }
        Self {
            count: survey.components.len() as u32,
            order,
            ids,
        }
    }

    fn id(&self, at: u32) -> NodeId {
        match self.order {
            Some(_) => self.ids[at as usize],
            None => NodeId(at),
        }
    }

    /// The positions by number.
    fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.count).map(|id| self.order.map_or(id, |order| order[id as usize]))
    }
}

fn plan_of(survey: &Survey<'_>, numbering: &Numbering<'_>) -> Plan {
    let rows: Csr<NodeId> = match numbering.order {
        None => survey.dependencies.clone().into_numbered(),
        Some(_) => renumbered(&survey.dependencies, numbering),
    };
    let mut nodes = Vec::with_capacity(survey.components.len());
    for (id, at) in (0..).map(NodeId).zip(numbering.positions()) {
        nodes.push(node(id, at as usize, survey));
    }
    spread_background(&mut nodes, &rows);
    let kinds = kinds(survey, numbering, &rows);
    Plan::with_kinds(nodes, rows, kinds, lazy_edges(survey, numbering))
}

fn renumbered(dependencies: &Csr, numbering: &Numbering<'_>) -> Csr<NodeId> {
    let mut edges = Vec::with_capacity(dependencies.edges());
    for (id, at) in (0..).map(NodeId).zip(numbering.positions()) {
        let first = edges.len();
        let own = dependencies.of(at).iter();
        edges.extend(own.map(|other| (id, numbering.id(*other))));
        edges[first..].sort_unstable();
    }
    Csr::new(dependencies.len(), &edges)
}

fn node(id: NodeId, at: usize, survey: &Survey<'_>) -> Node {
    let component = &survey.components[at];
    let options = component.options();
    Node {
        id,
        name: survey.names.to_keep(at),
        stage: options.stage.clone(),
        class: options.class.clone(),
        optional: options.optional,
        background: options.background,
        milestone: options.milestone,
        lazy: survey.lazy.get(at).is_some_and(|lazy| *lazy),
        value: matches!(component.body, Body::Value(_)),
        conditional: options.condition.is_some(),
        added_at: component.added_at,
    }
}

/// What depends on a background node cannot be waited for either. In start order, so that it spreads in one pass.
fn spread_background(nodes: &mut [Node], dependencies: &Csr<NodeId>) {
    if !nodes.iter().any(|node| node.background) {
        return;
    }
    for at in 0..nodes.len() {
        let mut own = dependencies.of(nodes[at].id).iter();
        nodes[at].background |= own.any(|other| nodes[other.index()].background);
    }
}

/// What each edge means: the strongest of several needs of one provider. Empty where all are orders.
fn kinds(survey: &Survey<'_>, numbering: &Numbering<'_>, rows: &Csr<NodeId>) -> Vec<EdgeKind> {
    if survey.resolved.len() == 0 {
        return Vec::new();
    }
    let mut kinds = vec![EdgeKind::Order; rows.edges()];
    for at in 0..numbering.count {
        let id = numbering.id(at);
        let range = rows.range(id);
        for wire in survey.resolved.of(at) {
            let Some(provider) = wire.provider else {
                continue;
            };
            if let Ok(place) = rows.of(id).binary_search(&numbering.id(provider)) {
                let kind = &mut kinds[range.start + place];
                *kind = (*kind).min(EdgeKind::of(wire.kind));
            }
        }
    }
    kinds
}

/// Who (second) may ask for whom (first), each pair once.
fn lazy_edges(survey: &Survey<'_>, numbering: &Numbering<'_>) -> Vec<(NodeId, NodeId)> {
    if !survey.resolved.lazy {
        return Vec::new();
    }
    let mut edges = Vec::new();
    for at in 0..numbering.count {
        let wires = survey.resolved.of(at).iter();
        let lazy = wires.filter(|wire| wire.kind == Kind::Lazy);
        let providers = lazy.filter_map(|wire| wire.provider);
        edges.extend(providers.map(|provider| (numbering.id(provider), numbering.id(at))));
    }
    edges.sort_unstable_by_key(|(from, to)| (*to, *from));
    edges.dedup();
    edges
}
