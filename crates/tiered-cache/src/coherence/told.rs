//! What listeners are told of invalidations for which no cache was called: those of batches and of event
//! streams, and those of other replicas.

use std::sync::Arc;

use super::{Change, Effect, Ledger, Target};
use crate::events::{CacheEvent, Events};

impl Ledger {
    /// This process has put the changes in force.
    pub(super) fn tell_applied(&self, changes: &[Change]) {
        let events = &self.config.events;
        for change in changes {
            events.tell(|| applied(events, change));
        }
    }

    /// Other processes have made the changes, and they are in force here.
    pub(super) fn tell_heard(&self, changes: &[(Target, Effect)]) {
        let events = &self.config.events;
        for (target, effect) in changes.iter().copied() {
            events.tell(|| CacheEvent::Heard {
                what: in_words(events, target, 0).into(),
                effect,
            });
        }
    }
}

fn applied(events: &Events, change: &Change) -> CacheEvent {
    let effect = change.effect;
    let Some(entry) = &change.entry else {
        return CacheEvent::Invalidated {
            what: in_words(events, change.target, change.cache).into(),
            effect,
        };
    };
    let (cache, key) = (Arc::clone(&entry.cache), Arc::clone(&entry.text));
    match effect {
        Effect::Expire => CacheEvent::Expired { cache, key },
        Effect::Remove => CacheEvent::Removed { cache, key },
    }
}

/// `cache` is the hash of the name of a key's cache, if it is known.
fn in_words(events: &Events, target: Target, cache: u64) -> String {
    match (target, events.name_of(cache)) {
        (Target::Key(hash), Some(cache)) => format!("key {hash:016x} of cache {cache}"),
        (Target::Key(hash), None) => format!("key {hash:016x}"),
        (Target::Tag(hash), _) => format!("tag {hash:016x}"),
        (Target::Cache(id), _) => match events.name_of(id) {
            Some(cache) => format!("everything of cache {cache}"),
            None => format!("everything of cache {id:016x}"),
        },
        (Target::All, _) => "everything".to_owned(),
    }
}
