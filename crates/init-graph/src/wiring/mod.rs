//! Turns components into a plan: who provides what, in which order, and everything that is wrong with it at once.

mod csr;
mod cycle;
mod deferred;
mod diagnose;
mod index;
pub(crate) mod names;
mod order;

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::HashMap;

pub(crate) use self::csr::Csr;
use self::diagnose::Diagnose;
use self::index::{Index, Resolved};
use crate::component::{Body, Component};
use crate::graph::Graph;
use crate::param::Kind;
use crate::plan::{Node, NodeId, Plan};
use crate::wiring_error::{WiringError, WiringErrors};

/// A graph whose components fit together. Everything is indexed by [`NodeId`], which is the position in start order.
pub(crate) struct Wiring {
    pub(crate) plan: Plan,
    /// The index of each node's component, as it was added.
    pub(crate) components: Box<[u32]>,
    pub(crate) wires: Wires,
    /// The edges of the plan the other way round.
    pub(crate) dependents: Csr<NodeId>,
    /// Per type every node that provides it, in the order of adding.
    pub(crate) providers: HashMap<TypeId, Vec<Offer>>,
}

/// A need, or one of several that meet it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    /// `None` where nobody provides what is not required.
    pub(crate) provider: Option<NodeId>,
    /// Which view of the provider's value, by [`Component::provide`]; 0 is the value itself.
    pub(crate) view: u16,
    pub(crate) kind: Kind,
    /// Whether the next wire belongs to the next need.
    pub(crate) last: bool,
}

/// The wires of each node: those of its parameters, in order, then those of its condition, then the others.
pub(crate) struct Wires {
    offsets: Box<[u32]>,
    list: Box<[Wire]>,
}

impl Wires {
    pub(crate) fn of(&self, node: NodeId) -> &[Wire] {
        let at = node.index();
        &self.list[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }
}

/// A node that provides a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) node: NodeId,
    pub(crate) view: u16,
    pub(crate) tag: Option<TypeId>,
    pub(crate) named: bool,
}

/// Decides everything about a start before anything runs.
pub(crate) fn resolve(graph: &Graph) -> Result<Wiring, WiringErrors> {
    let components = &graph.components;
    let names = index::unique_names(components);
    let diagnose = Diagnose {
        components,
        names: &names,
    };
    let mut errors = Vec::new();
    let index = Index::new(components, &names, &diagnose, &mut errors);
    let resolved = index.resolve_all(graph, &diagnose, &mut errors);
    diagnose.settings(&graph.settings, &mut errors);
    diagnose.options(&mut errors);

    let dependencies = resolved.dependencies(components);
    let order = order::start_order(&dependencies);
    if order.len() < components.len() {
        for knot in cycle::knots(&dependencies) {
            errors.push((knot.cycle[0] as usize, diagnose.cycle(&knot, &resolved)));
        }
    }
    if errors.is_empty() {
        return Ok(finish(&index, &names, &resolved, &dependencies, order));
    }
    // In the order of the source, which is how a person goes through them.
    errors.sort_by_key(|(component, _)| *component);
    let errors = errors.into_iter().map(|(_, error)| error);
    Err(WiringErrors::new(errors.collect()))
}

/// Errors with the index of the component that they are reported at.
pub(crate) type Errors = Vec<(usize, WiringError)>;

fn finish(
    index: &Index<'_>,
    names: &[Cow<'static, str>],
    resolved: &Resolved,
    dependencies: &Csr,
    order: Vec<u32>,
) -> Wiring {
    let components = index.components;
    let mut id_of = vec![NodeId(0); order.len()];
    for (id, component) in (0..).zip(&order) {
        id_of[*component as usize] = NodeId(id);
    }
    let lazy = deferred::deferred(resolved, dependencies);
    let mut nodes = Vec::with_capacity(order.len());
    let mut edges = Vec::with_capacity(dependencies.edges());
    let mut offsets = Vec::with_capacity(order.len() + 1);
    let mut wires = Vec::with_capacity(resolved.len());
    for at in &order {
        let id = id_of[*at as usize];
        let first = edges.len();
        let own = dependencies.of(*at).iter();
        edges.extend(own.map(|other| (id, id_of[*other as usize])));
        edges[first..].sort_unstable();
        offsets.push(wires.len() as u32);
        wires.extend(resolved.of(*at).iter().map(|wire| wire.finish(&id_of)));
        let name = names[*at as usize].clone();
        nodes.push(node(
            id,
            name,
            &components[*at as usize],
            lazy[*at as usize],
        ));
    }
    offsets.push(wires.len() as u32);
    let dependencies = Csr::new(order.len(), &edges);
    let dependents = dependencies.reversed();
    Wiring {
        plan: Plan::new(nodes, dependencies),
        components: order.into(),
        wires: Wires {
            offsets: offsets.into(),
            list: wires.into(),
        },
        dependents,
        providers: index.providers(&id_of),
    }
}

fn node(
    id: NodeId,
    name: Cow<'static, str>,
    component: &Component,
    lazy: bool,
) -> Node {
    let options = component.options();
    Node {
        id,
        name,
        stage: options.stage.clone(),
        optional: options.optional,
        background: options.background,
        milestone: options.milestone,
        lazy,
        value: matches!(component.body, Body::Value(_)),
        added_at: component.added_at,
    }
}
