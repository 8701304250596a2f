//! Who provides which type, as itself or as a view, and which of several providers a consumer means.

use std::any::TypeId;
use std::collections::{HashMap, HashSet};

use foldhash::fast::FixedState;

use super::Offer;
use crate::component::Component;
use crate::param::TypeKey;
use crate::plan::NodeId;

/// The providers of every type, each in the order of adding.
#[derive(Default)]
pub(super) struct Offers {
    by_type: HashMap<TypeId, Vec<Provider>, FixedState>,
    several: bool,
}

/// A component that provides a type, as one of its views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) component: u32,
    pub(super) view: u16,
    pub(super) tag: Option<TypeId>,
    pub(super) named: bool,
}

/// Which provider a consumer means.
#[derive(Clone, Copy)]
pub(super) enum Choice {
    None,
    One(Provider),
    /// There is no telling: one of [`Offers::candidates`].
    Several,
}

/// Providers of a type, all with the same tag or none, that nothing tells apart.
pub(super) struct Doubled {
    pub(super) provided: TypeId,
    pub(super) providers: Vec<Provider>,
}

impl Offers {
    pub(super) fn add(&mut self, at: u32, component: &Component) {
        let Some((made, _)) = component.output else {
            return;
        };
        let options = component.options();
        let views = options.provides.iter().map(|provide| provide.to.0);
        for (view, provided) in (0..=u16::MAX).zip(std::iter::once(made).chain(views)) {
            let list = self.by_type.entry(provided).or_default();
            // Two views of one component as the same type are one provider, by the first.
            if list.last().is_none_or(|last| last.component != at) {
                self.several |= !list.is_empty();
                list.push(Provider {
                    component: at,
                    view,
                    tag: options.tag.map(|(tag, _)| tag),
                    named: component.named,
                });
            }
        }
    }

    /// Whether there is a type with several providers.
    pub(super) fn has_several(&self) -> bool {
        self.several
    }

    pub(super) fn of(&self, provided: TypeId) -> &[Provider] {
        self.by_type.get(&provided).map_or(&[], |list| list)
    }

    /// The component `at` as a provider of a type.
    pub(super) fn by(&self, provided: TypeId, at: u32) -> Option<Provider> {
        let list = self.of(provided);
        let place = list.binary_search_by_key(&at, |provider| provider.component);
        place.ok().map(|place| list[place])
    }

    /// Groups of providers that nothing tells apart, of types that nobody collects.
    pub(super) fn doubled(&self, collected: &HashSet<TypeId>) -> Vec<Doubled> {
        let mut groups = Vec::new();
        let lists = self.by_type.iter();
        for (provided, list) in
            lists.filter(|(provided, list)| list.len() > 1 && !collected.contains(*provided))
        {
            let unnamed: Vec<_> = list.iter().filter(|provider| !provider.named).collect();
            let mut tags: Vec<_> = unnamed.iter().map(|provider| provider.tag).collect();
            tags.sort_unstable();
            tags.dedup();
            for tag in tags {
                let same = unnamed.iter().filter(|provider| provider.tag == tag);
                let providers: Vec<Provider> = same.map(|provider| **provider).collect();
                if providers.len() > 1 {
                    groups.push(Doubled {
                        provided: *provided,
                        providers,
                    });
                }
            }
        }
        groups.sort_by_key(|group| (group.providers[1].component, group.providers[1].view));
        groups
    }

    /// The provider for a consumer that wants one: among those of its tag the only one without a name, else the only
    /// one. Where no tag was asked for and all providers have one, the only one of all.
    pub(super) fn choose(&self, key: &TypeKey) -> Choice {
        let mut all = self.candidates(key);
        let Some(first) = all.next() else {
            return Choice::None;
        };
        let rest = all.clone().next();
        let own = key.tag.map(|(tag, _)| tag) == first.tag;
        let mut unnamed = std::iter::once(first).chain(all).filter(|one| !one.named);
        match (unnamed.next(), unnamed.next()) {
            _ if rest.is_none() => Choice::One(first),
            (Some(one), None) if own => Choice::One(one),
            _ => Choice::Several,
        }
    }

    /// Those of its tag, or where no tag was asked for and all have one, all of them.
    pub(super) fn candidates(&self, key: &TypeKey) -> impl Iterator<Item = Provider> + Clone {
        let tag = key.tag.map(|(tag, _)| tag);
        let offers = self.of(key.id);
        let any = tag.is_none() && offers.iter().all(|offer| offer.tag.is_some());
        let meant = offers.iter().filter(move |offer| any || offer.tag == tag);
        meant.copied()
    }

    pub(super) fn numbered(&self, id_of: impl Fn(u32) -> NodeId) -> HashMap<TypeId, Vec<Offer>> {
        let offer = |provider: &Provider| Offer {
            node: id_of(provider.component),
            view: provider.view,
            tag: provider.tag,
            named: provider.named,
        };
        let lists = self.by_type.iter();
        lists
            .map(|(provided, list)| (*provided, list.iter().map(offer).collect()))
            .collect()
    }
}
