//! Finds the provider of every need, by type, name or handle.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};

use super::csr::Rows;
use super::named::Names;
use super::offers::{Choice, Offers, Provider};
use super::problem::{Problem, Problems};
use super::{Csr, Wire};
use crate::component::Component;
use crate::graph::Graph;
use crate::options::WireTo;
use crate::param::{Key, Kind, Need, Source, TypeKey};
use crate::plan::NodeId;
use crate::policy::Policy;

/// The wires of each component, in its needs' order; everything by the position of adding.
pub(super) struct Resolved {
    offsets: Vec<u32>,
    list: Vec<ResolvedWire>,
    /// Whether there is a `Lazy` among them.
    pub(super) lazy: bool,
}

/// As [`Wire`], before nodes have their final numbers.
#[derive(Clone, Copy)]
pub(super) struct ResolvedWire {
    pub(super) provider: Option<u32>,
    pub(super) view: u16,
    pub(super) kind: Kind,
    /// Which need of the component; those of the condition come after the parameters'.
    pub(super) need: u32,
    pub(super) last: bool,
}

impl ResolvedWire {
    pub(super) fn numbered(&self, id_of: impl Fn(u32) -> NodeId) -> Wire {
        Wire {
            provider: self.provider.map(id_of),
            view: self.view,
            kind: self.kind,
            last: self.last,
        }
    }
}

impl Resolved {
    pub(super) fn of(&self, at: u32) -> &[ResolvedWire] {
        let at = at as usize;
        &self.list[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

/// What the needs of all components came to.
pub(super) struct Outcome {
    pub(super) resolved: Resolved,
    /// Every edge that a start has to respect, each once; `Lazy` is none.
    pub(super) dependencies: Csr,
    /// Whether each component was added after all that it depends on.
    pub(super) sorted: bool,
    /// The types that somebody takes all providers of.
    pub(super) collected: HashSet<TypeId>,
}

/// Goes through the needs of all components.
pub(super) fn resolve<'a>(
    graph: &'a Graph,
    names: &Names<'a>,
    offers: &Offers,
    problems: &mut Problems<'a>,
) -> Outcome {
    let components = &graph.components;
    let count = components.len();
    let mut resolver = Resolver {
        graph,
        names,
        offers,
        problems,
        list: Vec::new(),
        found: Vec::new(),
        lazy: false,
        collected: HashSet::new(),
        chosen: HashMap::new(),
    };
    let mut offsets = Vec::with_capacity(count + 1);
    offsets.push(0);
    let mut rows = Rows::with_capacity(count);
    let mut sorted = true;
    for (at, component) in (0..).zip(components) {
        let first = resolver.list.len();
        if !component.needs.is_empty() || component.has_options() {
            resolver.resolve(at, component);
        }
        offsets.push(resolver.list.len() as u32);
        for wire in &resolver.list[first..] {
            if let Some(provider) = wire.provider.filter(|_| wire.kind != Kind::Lazy) {
                rows.push(provider);
            }
        }
        for other in component.after.as_slice() {
            match (*other as usize) < count {
                true => rows.push(*other),
                false => resolver.problems.push((at, Problem::ForeignHandle)),
            }
        }
        sorted &= rows.end_row().last().is_none_or(|last| *last < at);
    }
    Outcome {
        resolved: Resolved {
            offsets,
            list: resolver.list,
            lazy: resolver.lazy,
        },
        dependencies: rows.finish(),
        sorted,
        collected: resolver.collected,
    }
}

struct Resolver<'r, 'a> {
    graph: &'a Graph,
    names: &'r Names<'a>,
    offers: &'r Offers,
    problems: &'r mut Problems<'a>,
    list: Vec<ResolvedWire>,
    /// The providers of one need.
    found: Vec<Provider>,
    lazy: bool,
    collected: HashSet<TypeId>,
    /// The choices among many providers, by type and tag.
    chosen: HashMap<(TypeId, Option<TypeId>), Choice>,
}

impl<'a> Resolver<'_, 'a> {
    fn resolve(&mut self, at: u32, component: &'a Component) {
        for (number, need) in (0..).zip(needs(component)) {
            self.found.clear();
            self.lazy |= need.kind == Kind::Lazy;
            self.find(at, component, need);
            for provider in &self.found {
                if self.may_fall_away(component, need, provider.component) {
                    let problem = Problem::NeedsOptional(need, provider.component);
                    self.problems.push((at, problem));
                }
            }
            self.push_wires(number, need.kind);
        }
        for wire in &component.options().wires {
            self.check_wire(at, component, wire);
        }
    }

    /// A wire is wrong once, however many needs go by it.
    fn check_wire(&mut self, at: u32, component: &'a Component, wire: &'a WireTo) {
        if !needs(component).any(|need| wire_of(need, std::slice::from_ref(wire)).is_some()) {
            self.problems.push((at, Problem::UnusedWire(wire)));
        }
        let all = &component.options().wires;
        let chosen = |need| wire_of(need, all).is_some_and(|chosen| std::ptr::eq(chosen, wire));
        if needs(component).any(chosen) {
            let wired = self.names.find(&wire.name);
            let offer = wired.and_then(|wired| self.offers.by(wire.wanted.0, wired));
            if offer.is_none() {
                self.problems.push((at, Problem::WrongWire(wire, wired)));
            }
        }
    }

    /// The providers of `need`, of which there may be none or several where its kind allows that.
    fn find(&mut self, at: u32, component: &'a Component, need: &'a Need) {
        match &need.key {
            Key::Id(_) => {}
            Key::Name(name) => self
                .found
                .extend(self.names.find(name).map(|component| Provider {
                    component,
                    view: 0,
                    tag: None,
                    named: true,
                })),
            Key::Type(key) => {
                let offers = self.offers.of(key.id);
                if need.kind == Kind::All {
                    self.collected.insert(key.id);
                    let others = offers.iter().filter(|offer| offer.component != at);
                    self.found.extend(others);
                } else if let Some(wire) = wire_of(need, &component.options().wires) {
                    let wired = self.names.find(&wire.name);
                    let offer = wired.and_then(|wired| self.offers.by(key.id, wired));
                    match offer {
                        Some(offer) => self.found.push(offer),
                        // Reported once, with the wires.
                        None => return,
                    }
                } else if need.kind == Kind::Order || matches!(need.source, Source::NeedsCall) {
                    self.found.extend(offers);
                } else {
                    match self.choose(key) {
                        Choice::None => {}
                        Choice::One(offer) => self.found.push(offer),
                        Choice::Several => {
                            self.problems.push((at, Problem::Ambiguous(need, key)));
                            return;
                        }
                    }
                }
            }
        }
        if self.found.is_empty() && need.required {
            self.problems.push((at, Problem::Missing(need)));
        }
    }

    /// As [`Offers::choose`], which is asked once where there are many to look through.
    fn choose(&mut self, key: &TypeKey) -> Choice {
        if self.offers.of(key.id).len() <= FEW {
            return self.offers.choose(key);
        }
        let chosen = self.chosen.entry((key.id, key.tag.map(|(tag, _)| tag)));
        *chosen.or_insert_with(|| self.offers.choose(key))
    }

    /// Whether a component that must start would be skipped by a failure that is tolerated. Where a condition takes the
    /// value, skipping is what it is for.
    fn may_fall_away(&self, component: &Component, need: &Need, provider: u32) -> bool {
        matches!(need.kind, Kind::Hard | Kind::Live)
            && !matches!(need.source, Source::Condition(_))
            && self.graph.settings.policy != Policy::KeepGoing
            && !component.options().optional
            && self.graph.components[provider as usize].options().optional
    }

    fn push_wires(&mut self, need: u32, kind: Kind) {
        let wire = |provider: Option<&Provider>, last| ResolvedWire {
            provider: provider.map(|provider| provider.component),
            view: provider.map_or(0, |provider| provider.view),
            kind,
            need,
            last,
        };
        if self.found.is_empty() {
            self.list.push(wire(None, true));
        }
        for (position, provider) in self.found.iter().enumerate() {
            self.list
                .push(wire(Some(provider), position + 1 == self.found.len()));
        }
    }
}

/// The choice among `wires` that `need` goes by, the last of several. A tag is a choice already, and who collects
/// chooses nothing.
fn wire_of<'a>(need: &Need, wires: &'a [WireTo]) -> Option<&'a WireTo> {
    match &need.key {
        Key::Type(key) if key.tag.is_none() && need.kind != Kind::All => {
            wires.iter().rfind(|wire| wire.wanted.0 == key.id)
        }
        _ => None,
    }
}

/// Providers of one type that are looked through for each consumer.
const FEW: usize = 8;

/// The needs of the parameters, then those of the condition, then the others: the order in which they are fetched.
pub(super) fn needs(component: &Component) -> impl Iterator<Item = &Need> {
    let (parameters, others) = component.needs.split_at(usize::from(component.parameters));
    let condition = component.options().condition.as_ref();
    let condition = condition.map_or(&[] as &[Need], |condition| &condition.needs);
    parameters.iter().chain(condition).chain(others)
}
