//! What the tiers below memory have of a key, and how it comes up into memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use bytes::Bytes;

use super::{Inner, Lower};
use crate::{
    cached::{TierKind, TierSet},
    codec::{Opened, OpenedContent, Reject},
    coherence::{Standing, Token},
    guard::{Guard, Read},
    key::{CacheKey, key_text},
    memory::{Entry, Meta, Times},
    policy::{EntryOptions, Freshness, freshness},
    stats::Outcome,
    tier::{EntryKey, TierScope},
};

/// The best that the tiers below have; whatever it is, memory has it too by now.
pub(crate) enum Below<V> {
    Fresh(Arc<Entry<V>>, TierKind),
    /// Served while it is refreshed.
    Stale(Arc<Entry<V>>, TierKind),
    /// For when the loader fails.
    Fallback(Arc<Entry<V>>),
    Absent(Arc<Entry<()>>),
    Nothing,
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Whether there is anything below memory to ask.
    pub(crate) fn asks_below(&self, tiers: TierSet) -> bool {
        self.lower.as_ref().is_some_and(|lower| {
            let mut kinds = lower.tiers.iter().map(|tier| tier.kind());
            kinds.any(|kind| tiers.contains(kind))
        })
    }

    /// Asks the tiers below memory in order (those of one scope only, if one is given), and keeps what
    /// it finds in memory; `token` was taken before.
    pub(crate) async fn find_below(
        &self,
        key: &K,
        hash: u64,
        token: Token,
        tiers: TierSet,
        only: Option<TierScope>,
    ) -> Below<V> {
        let mut best = Below::Nothing;
        let Some((lower, entry_key)) = self.lower.as_ref().zip(self.entry_key(key, hash)) else {
            return best;
        };
        let implied = self.groups.of(key);
        let asked = lower.tiers.iter().filter(|tier| {
            tiers.contains(tier.kind()) && only.is_none_or(|scope| scope == tier.scope())
        });
        for tier in asked {
            if self.closed_off(tier.scope(), hash, &implied) {
                self.meter.read(tier.kind(), Outcome::Bypassed);
                continue;
            }
            let read = tier.read(&entry_key).await;
            let found = self.judge(lower, tier, &entry_key, read, token, &implied);
            best = best.or(found);
            if best.is_answer() {
                break;
            }
        }
        if tiers.contains(TierKind::Memory) {
            self.promote(key, &best);
        }
        best
    }

    /// What a tier's answer is worth; counted.
    pub(super) fn judge(
        &self,
        lower: &Lower<V>,
        tier: &Guard,
        key: &EntryKey,
        read: Read,
        token: Token,
        implied: &[u64],
    ) -> Below<V> {
        let (outcome, found) = match read {
            Read::Found(bytes) => self.accept(lower, tier, key, &bytes, token, implied),
            Read::Absent => (Outcome::Miss, Below::Nothing),
            Read::Bypassed => (Outcome::Bypassed, Below::Nothing),
            Read::Failed => (Outcome::Error, Below::Nothing),
        };
        self.meter.read(tier.kind(), outcome);
        found
    }

    /// Whether a tier may not be asked for the key now: it has not yet been told of an invalidation, or
    /// this process does not yet know all that it should.
    pub(crate) fn closed_off(&self, scope: TierScope, hash: u64, tags: &[u64]) -> bool {
        match scope {
            TierScope::Process => !self.common.own_ready(),
            TierScope::Shared => {
                !self.ledger.shared_ready() || self.ledger.blocks(self.id, hash, tags)
            }
        }
    }

    /// What the bytes are, and whether they may be served.
    pub(crate) fn accept(
        &self,
        lower: &Lower<V>,
        tier: &Guard,
        key: &EntryKey,
        bytes: &Bytes,
        token: Token,
        implied: &[u64],
    ) -> (Outcome, Below<V>) {
        let now = self.clock.now_ms();
        let opened = match lower.envelope.open(bytes, &key.text, now) {
            Ok(opened) => opened,
            Err(Reject::Stale) => return (Outcome::Stale, Below::Nothing),
            Err(_) => return (Outcome::Invalid, Below::Nothing),
        };
        // A pattern that was changed since the entry was written covers it as it is now.
        let tags = union(&opened.tags, implied);
        let Some((standing, local)) =
            self.standing_below(tier.scope(), &opened, key.hash, &tags, token)
        else {
            return (Outcome::Stale, Below::Nothing);
        };
        let Opened {
            content,
            times,
            version,
            validator,
            raw_len: bytes,
            ..
        } = opened;
        let times = if standing == Standing::Expired {
            expired(times, now)
        } else {
            times
        };
        let phase = freshness(&times, now, now, standing, None);
        if phase == Freshness::Gone || now >= self.ledger.served_until(times.filled) {
            return (Outcome::Stale, Below::Nothing);
        }
        let meta = |times| Meta {
            times,
            seen: AtomicU64::new(local),
            local: AtomicU64::new(local),
            settled: AtomicBool::new(false),
            shared: version,
            key: key.hash,
            tags: tags.clone(),
            validator: validator.clone(),
            read: AtomicU64::new(now),
            bytes,
        };
        let value = match content {
            OpenedContent::Value(value) => value,
            OpenedContent::Absent if phase <= Freshness::Due => {
                let entry = Arc::new(Entry::new((), meta(times)));
                return (Outcome::Absent, Below::Absent(entry));
            }
            OpenedContent::Absent => return (Outcome::Stale, Below::Nothing),
        };
        let times = if phase <= Freshness::Due {
            let draw = self.common.chance.unit();
            self.policy
                .memory_times(times, &EntryOptions::default(), now, draw)
        } else {
            times
        };
        let entry = Arc::new(Entry::new(value, meta(times)));
        match phase {
            Freshness::Fresh | Freshness::Due => (Outcome::Hit, Below::Fresh(entry, tier.kind())),
            Freshness::Revalidate | Freshness::Throttled => {
                (Outcome::Stale, Below::Stale(entry, tier.kind()))
            }
            _ => (Outcome::Stale, Below::Fallback(entry)),
        }
    }

    /// How an entry of a tier below stands, and the local number that it has in memory; `None` when it
    /// is not to be served.
    ///
    /// An entry of this process's own tier keeps its number. One of a shared tier is checked against
    /// the shared floors here, once; from now on it counts as a fill that began when it was asked for.
    fn standing_below(
        &self,
        scope: TierScope,
        opened: &Opened<V>,
        hash: u64,
        tags: &[u64],
        token: Token,
    ) -> Option<(Standing, u64)> {
        let (standing, local) = match scope {
            TierScope::Process => {
                let local = opened.version.0;
                let ours = opened.origin == self.common.origin;
                // A number that was never given out: the folder is not of this count.
                if !ours || local > self.floors.token().local {
                    return None;
                }
                (self.standing(hash, tags, local), local)
            }
            TierScope::Shared => {
                if opened.origin == 0 || opened.origin != token.origin {
                    return None;
                }
                // Its tags are known only now, and an invalidation of one may be on its way to the log.
                if self.ledger.blocks(self.id, hash, tags) {
                    return None;
                }
                let floors = &self.floors;
                let shared = floors.standing_shared(&self.floor, hash, tags, opened.version);
                // An invalidation may have come in while the tier was asked.
                let since = self.standing(hash, tags, token.local);
                (shared.max(since), token.local)
            }
        };
        (standing != Standing::Removed).then_some((standing, local))
    }

    /// Keeps what was found in memory, unless memory has something newer by now.
    pub(super) fn promote(&self, key: &K, found: &Below<V>) {
        let filled = match found {
            Below::Fresh(entry, _) | Below::Stale(entry, _) | Below::Fallback(entry) => {
                entry.meta.times.filled
            }
            Below::Absent(entry) => entry.meta.times.filled,
            Below::Nothing => return,
        };
        // Of the same fill, memory's copy knows more of what became of it; unless it only waited for
        // this one.
        let least = filled + u64::from(matches!(found, Below::Fresh(..)));
        let newer = self.memory.get(key).is_some_and(|held| {
            let held = held.meta();
            held.times.filled >= least && self.standing_of(held) != Standing::Removed
        });
        if newer {
            return;
        }
        self.meter.promotions.add();
        match found {
            Below::Fresh(entry, _) | Below::Stale(entry, _) | Below::Fallback(entry) => {
                self.put_decoded(key, entry);
            }
            Below::Absent(entry) => self.put_absent(key, Arc::clone(entry)),
            Below::Nothing => {}
        }
    }

    /// The name of the key below memory; `None` when it is too long to have one, or there is nothing
    /// below.
    pub(crate) fn entry_key(&self, key: &K, hash: u64) -> Option<EntryKey> {
        self.lower.as_ref()?;
        Some(EntryKey {
            cache: Arc::clone(&self.name),
            hash,
            text: key_text(key)?.into(),
        })
    }
}

/// In memory it would pass the local floors: so it has to be stale by its times.
fn expired(times: Times, now: u64) -> Times {
    let earlier = times.fresh_until.saturating_sub(now);
    Times {
        refresh_from: u64::MAX,
        fresh_until: times.fresh_until - earlier,
        revalidate_until: times.revalidate_until.saturating_sub(earlier),
        keep_until: times.keep_until.saturating_sub(earlier),
        ..times
    }
}

impl<V> Below<V> {
    /// Whether no other tier need be asked.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self, Self::Fresh(..) | Self::Absent(_))
    }

    /// The better of the two; of equals the one from the tier that was asked first.
    pub(super) fn or(self, other: Self) -> Self {
        let rank = |below: &Self| match below {
            Self::Fresh(..) | Self::Absent(_) => 3,
            Self::Stale(..) => 2,
            Self::Fallback(..) => 1,
            Self::Nothing => 0,
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }
}

fn union(tags: &[u64], implied: &[u64]) -> Box<[u64]> {
    let more = implied.iter().filter(|tag| !tags.contains(tag));
    tags.iter().chain(more).copied().collect()
}
