//! Who provides what: finds the provider of every need, by type, name or handle.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::diagnose::Diagnose;
use super::{Csr, Errors, Offer, Wire};
use crate::component::Component;
use crate::graph::Graph;
use crate::param::{Key, Kind, Need, Source, TypeKey};
use crate::plan::NodeId;

/// The wires of each component, in its needs' order; everything by the position of adding.
pub(crate) struct Resolved {
    offsets: Vec<u32>,
    list: Vec<ResolvedWire>,
}

/// As [`Wire`], before nodes have their final numbers.
#[derive(Clone, Copy)]
pub(crate) struct ResolvedWire {
    pub(crate) provider: Option<u32>,
    pub(crate) view: u16,
    pub(crate) kind: Kind,
    /// Which need of the component; those of the condition come after the parameters'.
    pub(crate) need: u16,
    pub(crate) last: bool,
}

impl ResolvedWire {
    pub(super) fn finish(&self, id_of: &[NodeId]) -> Wire {
        Wire {
            provider: self.provider.map(|provider| id_of[provider as usize]),
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

    /// Every edge that a start has to respect, each once; `Lazy` is none.
    pub(super) fn dependencies(&self, components: &[Component]) -> Csr {
        let mut edges = Vec::with_capacity(self.list.len());
        for (at, component) in (0..).zip(components) {
            let first = edges.len();
            let wires = self.of(at).iter().filter(|wire| wire.kind != Kind::Lazy);
            edges.extend(wires.filter_map(|wire| Some((at, wire.provider?))));
            edges.extend(component.after.iter().map(|id| (at, id.index)));
            // Wrong handles are errors of their own.
            edges.retain(|(_, other)| (*other as usize) < components.len());
            let own = &mut edges[first..];
            if own.len() > 1 {
                own.sort_unstable();
                let mut kept = first;
                for next in first + 1..edges.len() {
                    if edges[next] != edges[kept] {
                        kept += 1;
                        edges[kept] = edges[next];
                    }
                }
                edges.truncate(kept + 1);
            }
        }
        Csr::new(components.len(), &edges)
    }
}

/// A component that provides a type, as one of its views.
#[derive(Clone, Copy)]
pub(super) struct Provider {
    pub(super) component: u32,
    view: u16,
    tag: Option<TypeId>,
    named: bool,
}

pub(super) struct Index<'a> {
    pub(super) components: &'a [Component],
    by_type: HashMap<TypeId, Vec<Provider>>,
    by_name: HashMap<&'a str, u32>,
}

impl<'a> Index<'a> {
    pub(super) fn new(
        components: &'a [Component],
        names: &'a [Cow<'static, str>],
        diagnose: &Diagnose<'_>,
        errors: &mut Errors,
    ) -> Self {
        let mut index = Self {
            components,
            by_type: HashMap::new(),
            by_name: HashMap::with_capacity(components.len()),
        };
        for (at, (component, name)) in components.iter().zip(names).enumerate() {
            index.offer(at as u32, component);
            let first = *index.by_name.entry(name).or_insert(at as u32) as usize;
            if first != at {
                errors.push((at, diagnose.duplicate_name(first, at)));
            }
        }
        index
    }

    fn offer(&mut self, at: u32, component: &Component) {
        let Some((made, _)) = component.output else {
            return;
        };
        let options = component.options();
        let views = options.provides.iter().map(|provide| provide.to.0);
        for (view, provided) in (0..).zip(std::iter::once(made).chain(views)) {
            self.by_type.entry(provided).or_default().push(Provider {
                component: at,
                view,
                tag: options.tag.map(|(tag, _)| tag),
                named: component.named,
            });
        }
    }

    pub(super) fn providers(&self, id_of: &[NodeId]) -> HashMap<TypeId, Vec<Offer>> {
        let offer = |provider: &Provider| Offer {
            node: id_of[provider.component as usize],
            view: provider.view,
            tag: provider.tag,
            named: provider.named,
        };
        let lists = self.by_type.iter();
        lists
            .map(|(provided, list)| (*provided, list.iter().map(offer).collect()))
            .collect()
    }

    pub(super) fn resolve_all(
        &self,
        graph: &Graph,
        diagnose: &Diagnose<'_>,
        errors: &mut Errors,
    ) -> Resolved {
        let mut resolved = Resolved {
            offsets: Vec::with_capacity(self.components.len() + 1),
            list: Vec::new(),
        };
        let mut found = Vec::new();
        for (at, component) in self.components.iter().enumerate() {
            resolved.offsets.push(resolved.list.len() as u32);
            for id in &component.after {
                if id.graph != graph.id {
                    errors.push((at, diagnose.foreign_handle(at)));
                }
            }
            for (number, need) in (0..).zip(needs(component)) {
                found.clear();
                if let Err(error) = self.find(at, need, diagnose, errors.len(), &mut found) {
                    errors.push((at, error));
                }
                for provider in &found {
                    if self.may_fall_away(component, need.kind, provider.component) {
                        let error = diagnose.needs_optional(at, need, provider.component as usize);
                        errors.push((at, error));
                    }
                }
                push(&mut resolved.list, number, need.kind, &found);
            }
        }
        resolved.offsets.push(resolved.list.len() as u32);
        resolved
    }

    /// The providers of `need`, of which there may be none or several where its kind allows that.
    fn find(
        &self,
        at: usize,
        need: &Need,
        diagnose: &Diagnose<'_>,
        earlier: usize,
        found: &mut Vec<Provider>,
    ) -> Result<(), crate::wiring_error::WiringError> {
        let named = |name: &str| {
            self.by_name.get(name).map(|component| Provider {
                component: *component,
                view: 0,
                tag: None,
                named: true,
            })
        };
        match &need.key {
            Key::Id(_) => {}
            Key::Name(name) => found.extend(named(name)),
            Key::Type(key) => {
                let none = Vec::new();
                let offers = self.by_type.get(&key.id).unwrap_or(&none);
                let wires = &self.components[at].options().wires;
                if let Some(wire) = wires.iter().rfind(|wire| wire.wanted.0 == key.id) {
                    let wired = self.by_name.get(&*wire.name);
                    let offer = offers.iter().find(|offer| Some(&offer.component) == wired);
                    match offer {
                        Some(offer) => found.push(*offer),
                        None => return Err(diagnose.wrong_wire(at, wire, wired.copied())),
                    }
                } else if collects(need) {
                    let others = offers
                        .iter()
                        .filter(|offer| need.kind != Kind::All || offer.component as usize != at);
                    found.extend(others);
                } else {
                    match choose(key, offers) {
                        Ok(offer) => found.extend(offer),
                        Err(several) => return Err(diagnose.ambiguous(at, need, &several)),
                    }
                }
            }
        }
        if found.is_empty() && need.required {
            return Err(diagnose.missing(at, need, earlier));
        }
        Ok(())
    }

    fn may_fall_away(&self, component: &Component, kind: Kind, provider: u32) -> bool {
        matches!(kind, Kind::Hard | Kind::Live)
            && !component.options().optional
            && self.components[provider as usize].options().optional
    }
}

/// Whether a need is met by every provider rather than by one.
fn collects(need: &Need) -> bool {
    matches!(need.kind, Kind::All | Kind::Order) || matches!(need.source, Source::NeedsCall)
}

/// The one provider that a consumer means, `None` for none; all candidates when there is no telling.
fn choose(key: &TypeKey, offers: &[Provider]) -> Result<Option<Provider>, Vec<u32>> {
    let tag = key.tag.map(|(tag, _)| tag);
    let tagged: Vec<_> = offers.iter().filter(|offer| offer.tag == tag).collect();
    let unnamed: Vec<_> = tagged.iter().filter(|offer| !offer.named).collect();
    match (&*unnamed, &*tagged, offers) {
        ([offer], _, _) => Ok(Some(***offer)),
        (_, [offer], _) => Ok(Some(**offer)),
        (_, [], [offer]) if tag.is_none() => Ok(Some(*offer)),
        (_, [], []) => Ok(None),
        (_, [], _) if tag.is_some() => Ok(None),
        (_, [], several) => Err(several.iter().map(|offer| offer.component).collect()),
        (_, several, _) => Err(several.iter().map(|offer| offer.component).collect()),
    }
}

/// The needs of the parameters, then those of the condition, then the others: the order in which they are fetched.
pub(super) fn needs(component: &Component) -> impl Iterator<Item = &Need> {
    let (parameters, others) = component.needs.split_at(usize::from(component.parameters));
    let condition = component.options().condition.as_ref();
    let condition = condition.map_or(&[] as &[Need], |condition| &condition.needs);
    parameters.iter().chain(condition).chain(others)
}

fn push(list: &mut Vec<ResolvedWire>, need: u16, kind: Kind, found: &[Provider]) {
    let wire = |provider: Option<&Provider>, last| ResolvedWire {
        provider: provider.map(|provider| provider.component),
        view: provider.map_or(0, |provider| provider.view),
        kind,
        need,
        last,
    };
    if found.is_empty() {
        list.push(wire(None, true));
    }
    for (position, provider) in found.iter().enumerate() {
        list.push(wire(Some(provider), position + 1 == found.len()));
    }
}

/// Given names stay as they are; a default name that is taken gets a number.
pub(super) fn unique_names(components: &[Component]) -> Vec<Cow<'static, str>> {
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
