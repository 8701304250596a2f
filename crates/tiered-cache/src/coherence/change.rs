//! One invalidation as the ledger takes it, and its bytes for the record that outlives the process.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Effect, Target};
use crate::tier::EntryKey;

/// What one invalidation covers and does, with all that settling it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) target: Target,
    pub(crate) effect: Effect,
    /// Whether whoever announces it takes the key out of memory right after.
    pub(crate) evicts: bool,
    /// The hash of the cache's name for a key, by which many keys become "the whole cache"; 0 for
    /// what is no part of one cache.
    pub(crate) cache: u64,
    /// The key's name in shared tiers; `None` for what has no entry of its own, and for keys that
    /// are kept in memory only.
    pub(crate) entry: Option<EntryKey>,
}

impl Change {
    /// Of one key; `cache` is the hash of its cache's name.
    pub(crate) fn key(cache: u64, hash: u64, effect: Effect, entry: Option<EntryKey>) -> Self {
        Self {
            target: Target::Key(hash),
            effect,
            evicts: false,
            cache,
            entry,
        }
    }

    /// Of a key that the caller takes out of memory when it has been announced.
    pub(crate) fn evicting(self) -> Self {
        Self {
            evicts: true,
            ..self
        }
    }

    /// Of a tag, prefix or pattern group, by its hash.
    pub(crate) fn tag(hash: u64, effect: Effect) -> Self {
        Self::wide(Target::Tag(hash), effect, 0)
    }

    /// Of all keys of one cache.
    pub(crate) fn cache(cache: u64, effect: Effect) -> Self {
        Self::wide(Target::Cache(cache), effect, cache)
    }

    /// Of everything.
    pub(crate) fn all(effect: Effect) -> Self {
        Self::wide(Target::All, effect, 0)
    }

    fn wide(target: Target, effect: Effect, cache: u64) -> Self {
        Self {
            target,
            effect,
            evicts: false,
            cache,
            entry: None,
        }
    }
}

/// Few changes that cover as much as many, and more: the caches of keys, and everything for tags. At
/// most `most`.
pub(super) fn widened(changes: &[Change], most: usize) -> Vec<Change> {
    let mut wide: BTreeMap<Target, Change> = BTreeMap::new();
    for change in changes {
        let wider = match change.target {
            Target::Key(_) | Target::Cache(_) if change.cache != 0 => {
                Change::cache(change.cache, change.effect)
            }
            Target::Key(_) | Target::Cache(_) | Target::Tag(_) | Target::All => {
                Change::all(change.effect)
            }
        };
        let known = wide.entry(wider.target).or_insert_with(|| wider.clone());
        if wider.effect == Effect::Remove {
            known.effect = Effect::Remove;
        }
    }
    if wide.len() > most {
        return vec![Change::all(Effect::Remove)];
    }
    wide.into_values().collect()
}

/// The changes as bytes, for a record.
pub(super) fn encode(changes: &[Change]) -> Vec<u8> {
    let wire: Vec<_> = changes.iter().map(Wire::from).collect();
    // Nothing in there can fail to encode; no bytes read as damaged, which covers everything.
    postcard::to_stdvec(&wire).unwrap_or_default()
}

/// The changes that `bytes` hold; `None` when they are damaged.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Change>> {
    let (wire, []) = postcard::take_from_bytes::<Vec<Wire>>(bytes).ok()? else {
        return None;
    };
    wire.into_iter().map(Wire::change).collect()
}

#[derive(Serialize, Deserialize)]
struct Wire {
    kind: u8,
    hash: u64,
    removes: bool,
    cache: u64,
    entry: Option<(String, u64, String)>,
}

impl From<&Change> for Wire {
    fn from(change: &Change) -> Self {
        let (kind, hash) = match change.target {
            Target::Key(hash) => (KEY, hash),
            Target::Tag(hash) => (TAG, hash),
            Target::Cache(hash) => (CACHE, hash),
            Target::All => (ALL, 0),
        };
        let entry = change.entry.as_ref();
        Self {
            kind,
            hash,
            removes: change.effect == Effect::Remove,
            cache: change.cache,
            entry: entry.map(|key| (key.cache.to_string(), key.hash, key.text.to_string())),
        }
    }
}

impl Wire {
    fn change(self) -> Option<Change> {
        let target = match self.kind {
            KEY => Target::Key(self.hash),
            TAG => Target::Tag(self.hash),
            CACHE => Target::Cache(self.hash),
            ALL => Target::All,
            _ => return None,
        };
        Some(Change {
            target,
            effect: if self.removes {
                Effect::Remove
            } else {
                Effect::Expire
            },
            // Whoever carries it out from the record knows no memory.
            evicts: false,
            cache: self.cache,
            entry: self.entry.map(|(cache, hash, text)| EntryKey {
                cache: Arc::from(cache),
                hash,
                text: Arc::from(text),
            }),
        })
    }
}

const KEY: u8 = 1;
const TAG: u8 = 2;
const CACHE: u8 = 3;
const ALL: u8 = 4;
