//! Turns components into a plan: who provides what, in which order, and everything that is wrong with it at once.

use std::any::TypeId;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use crate::component::{Body, Component};
use crate::csr::Csr;
use crate::cycle;
use crate::diagnose::Diagnose;
use crate::param::{Key, Kind};
use crate::plan::{Node, NodeId, Plan};
use crate::wiring_error::{WiringError, WiringErrors};

/// A graph whose components fit together. Everything is indexed by [`NodeId`], which is the position in start order.
pub(crate) struct Wiring {
    pub(crate) plan: Plan,
    /// The index of each node's component, as it was added.
    pub(crate) components: Box<[u32]>,
    /// What each node needs, need by need.
    pub(crate) needs: Box<[Box<[Wire]>]>,
    pub(crate) dependencies: Csr,
    pub(crate) providers: HashMap<TypeId, NodeId>,
}

/// A need and who meets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) provider: Option<NodeId>,
    pub(crate) kind: Kind,
}

/// Decides everything about a start before anything runs.
pub(crate) fn resolve(
    components: &[Component],
    stop_timeout: Duration,
) -> Result<Wiring, WiringErrors> {
    let names = unique_names(components);
    let mut errors = Vec::new();
    let diagnose = Diagnose {
        components,
        names: &names,
    };
    let index = Index::new(components, &names, &diagnose, &mut errors);
    let resolved = index.resolve_all(&diagnose, &mut errors);
    diagnose.zero_timeouts(stop_timeout, &mut errors);

    let dependencies = dependencies(&resolved);
    let order = start_order(&dependencies);
    if order.len() < components.len() {
        for knot in cycle::knots(&dependencies) {
            errors.push((knot.cycle[0] as usize, diagnose.cycle(&knot, &resolved)));
        }
    }
    if errors.is_empty() {
        Ok(index.finish(&names, &resolved, &dependencies, order))
    } else {
        // In the order of the source, which is how a person goes through them.
        errors.sort_by_key(|(component, _)| *component);
        Err(WiringErrors::new(
            errors.into_iter().map(|(_, error)| error).collect(),
        ))
    }
}

/// Errors with the index of the component that they are reported at.
pub(crate) type Errors = Vec<(usize, WiringError)>;

/// Per component and need, the component that meets it.
pub(crate) type Resolved = Vec<Vec<Option<u32>>>;

struct Index<'a> {
    components: &'a [Component],
    by_type: HashMap<TypeId, u32>,
    by_name: HashMap<&'a str, u32>,
}

impl<'a> Index<'a> {
    fn new(
        components: &'a [Component],
        names: &'a [Cow<'static, str>],
        diagnose: &Diagnose<'_>,
        errors: &mut Errors,
    ) -> Self {
        let mut index = Self {
            components,
            by_type: HashMap::new(),
            by_name: HashMap::new(),
        };
        for (at, (component, name)) in components.iter().zip(names).enumerate() {
            if let Some((type_id, type_name)) = component.provides {
                let first = *index.by_type.entry(type_id).or_insert(at as u32) as usize;
                if first != at {
                    errors.push((at, diagnose.duplicate_type(type_name, first, at)));
                }
            }
            let first = *index.by_name.entry(name).or_insert(at as u32) as usize;
            if first != at {
                errors.push((at, diagnose.duplicate_name(first, at)));
            }
        }
        index
    }

    fn resolve_all(&self, diagnose: &Diagnose<'_>, errors: &mut Errors) -> Resolved {
        let mut resolved = Vec::with_capacity(self.components.len());
        for (at, component) in self.components.iter().enumerate() {
            let mut providers = Vec::with_capacity(component.needs.len());
            for need in &component.needs {
                let provider = match &need.key {
                    Key::Type(type_id, _) => self.by_type.get(type_id).copied(),
                    Key::Name(name) => self.by_name.get(name.as_str()).copied(),
                };
                match provider {
                    None if need.required => {
                        errors.push((at, diagnose.missing(at, need, errors.len())));
                    }
                    Some(provider) if self.may_fall_away(component, need.kind, provider) => {
                        errors.push((at, diagnose.needs_optional(at, need, provider as usize)));
                    }
                    _ => {}
                }
                providers.push(provider);
            }
            resolved.push(providers);
        }
        resolved
    }

    fn may_fall_away(&self, component: &Component, kind: Kind, provider: u32) -> bool {
        kind == Kind::Hard && !component.optional && self.components[provider as usize].optional
    }

    fn finish(
        &self,
        names: &[Cow<'static, str>],
        resolved: &Resolved,
        dependencies: &Csr,
        order: Vec<u32>,
    ) -> Wiring {
        let mut id_of = vec![NodeId(0); order.len()];
        for (id, component) in (0..).zip(&order) {
            id_of[*component as usize] = NodeId(id);
        }
        let (mut nodes, mut needs, mut edges) = (Vec::new(), Vec::new(), Vec::new());
        for at in order.iter().map(|component| *component as usize) {
            let component = &self.components[at];
            let id = id_of[at];
            let mut own: Vec<_> = dependencies
                .of(at as u32)
                .iter()
                .map(|other| id_of[*other as usize])
                .collect();
            own.sort_unstable();
            edges.extend(own.iter().map(|other| (id.0, other.0)));
            let wires = component.needs.iter().zip(&resolved[at]);
            needs.push(
                wires
                    .map(|(need, by)| Wire {
                        provider: by.map(|by| id_of[by as usize]),
                        kind: need.kind,
                    })
                    .collect(),
            );
            nodes.push(Node {
                id,
                name: names[at].clone(),
                stage: component.stage.clone(),
                dependencies: own.into(),
                optional: component.optional,
                value: matches!(component.body, Body::Value(_)),
                added_at: component.added_at,
            });
        }
        Wiring {
            plan: Plan::new(nodes),
            dependencies: Csr::new(order.len(), &edges),
            components: order.into(),
            needs: needs.into(),
            providers: self
                .by_type
                .iter()
                .map(|(key, at)| (*key, id_of[*at as usize]))
                .collect(),
        }
    }
}

/// Given names stay as they are; a default name that is taken gets a number.
fn unique_names(components: &[Component]) -> Vec<Cow<'static, str>> {
    let mut taken: HashSet<Cow<'static, str>> = components
        .iter()
        .filter(|component| component.named)
        .map(|component| component.name.clone())
        .collect();
    let mut numbers: HashMap<Cow<'static, str>, u32> = HashMap::new();
    let unique = |component: &Component| {
        let mut name = component.name.clone();
        while !component.named && !taken.insert(name.clone()) {
            let number = numbers.entry(component.name.clone()).or_insert(1);
            *number += 1;
            name = format!("{}-{number}", component.name).into();
        }
        name
    };
    components.iter().map(unique).collect()
}

fn dependencies(resolved: &Resolved) -> Csr {
    let mut edges = Vec::new();
    for (at, providers) in (0..).zip(resolved) {
        let mut own: Vec<_> = providers.iter().flatten().copied().collect();
        own.sort_unstable();
        own.dedup();
        edges.extend(own.into_iter().map(|provider| (at, provider)));
    }
    Csr::new(resolved.len(), &edges)
}

/// Kahn's algorithm; among the nodes that may start, the one added first comes first. Nodes in or behind a cycle are
/// left out.
fn start_order(dependencies: &Csr) -> Vec<u32> {
    let dependents = dependencies.reversed();
    let nodes = 0..dependencies.len() as u32;
    let mut remaining: Vec<_> = nodes
        .clone()
        .map(|node| dependencies.of(node).len())
        .collect();
    let mut free: BinaryHeap<_> = nodes
        .filter(|node| remaining[*node as usize] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(remaining.len());
    while let Some(Reverse(node)) = free.pop() {
        order.push(node);
        for dependent in dependents.of(node) {
            let left = &mut remaining[*dependent as usize];
            *left -= 1;
            if *left == 0 {
                free.push(Reverse(*dependent));
            }
        }
    }
    order
}
