//! Turns components into a plan: who provides what, in which order, and everything that is wrong with it at once.

mod bounds;
mod csr;
mod cycle;
mod cycle_text;
mod deferred;
mod diagnose;
mod milestone;
mod named;
pub(crate) mod names;
mod number;
mod offers;
mod order;
mod problem;
mod resolve;
mod suggest;
mod survey;

use std::any::TypeId;
use std::collections::HashMap;

pub(crate) use self::csr::Csr;
pub(crate) use self::milestone::milestone;
use self::survey::Survey;
use crate::graph::Graph;
use crate::param::Kind;
use crate::plan::{NodeId, Plan};
use crate::wiring_error::WiringErrors;

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
    /// Which view of the provider's value, by [`Component::provide`](crate::Component::provide); 0 is the value itself.
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
    /// Every wire with the node that it belongs to.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &Wire)> {
        let nodes = (0..self.offsets.len() as u32 - 1).map(NodeId);
        nodes.flat_map(|node| self.of(node).iter().map(move |wire| (node, wire)))
    }

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

/// Finds every error and nothing else.
pub(crate) fn check(graph: &Graph) -> Result<(), WiringErrors> {
    Survey::new(graph).map(drop)
}

/// Decides everything about a start before anything runs.
pub(crate) fn resolve(graph: &Graph) -> Result<Wiring, WiringErrors> {
    Survey::new(graph).map(|survey| number::number(&survey))
}

/// As [`resolve`], for those who only look.
pub(crate) fn plan(graph: &Graph) -> Result<Plan, WiringErrors> {
    Survey::new(graph).map(|survey| number::plan(&survey))
}
