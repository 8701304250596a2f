//! How what was loaded or inserted is kept: in memory under the number of its fill, then below.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Inner, fly::Ask};
use crate::{
    cached::{Cached, TierKind, TierSet},
    codec::{Body, Header, TAGS_MAX},
    coherence::{Change, Effect, Standing, Ticket, Token, Version},
    key::CacheKey,
    memory::{Entry, Meta, Slot, Times},
    policy::EntryOptions,
    tier::{Sealed, TierScope},
};

/// One fill that is to be kept.
pub(crate) struct Fill<'a, K> {
    pub(crate) ask: &'a Ask<K>,
    /// When its load began.
    pub(crate) filled: u64,
    pub(crate) cost: Duration,
}

/// What is left to do below memory once the callers have their answer.
pub(crate) enum BelowWrite {
    Entry(Kept),
    /// There was a value, the source has none any more, and that is not remembered.
    Gone(Ticket),
}

/// An entry on its way to the tiers below.
pub(crate) struct Kept {
    pub(crate) body: Body,
    pub(crate) facts: Facts,
}

/// What is the same of an entry in every tier.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) times: Times,
    pub(crate) tags: Box<[u64]>,
    pub(crate) validator: Option<Box<str>>,
    /// How many bytes the encoding has, uncompressed; 0 where nothing was encoded.
    pub(crate) bytes: usize,
}

/// Under which versions an entry is written below memory.
pub(crate) struct Versions {
    pub(crate) local: u64,
    /// In the shared log, with the log's epoch; `None` when shared tiers may not have it.
    pub(crate) shared: Option<(Version, u64)>,
    pub(crate) insertion: bool,
}

impl Facts {
    /// Those of a value of such an encoding.
    pub(crate) fn of(self, body: &Result<Option<Body>, Unkept>) -> Self {
        let body = body.as_ref().ok().and_then(Option::as_ref);
        Self {
            bytes: body.map_or(0, Body::raw_len),
            ..self
        }
    }
}

impl<K> Fill<'_, K> {
    /// When its load ended, rounded as the policy does: what is over by then is not kept at all.
    fn end(&self) -> u64 {
        let cost = self.cost.as_nanos().div_ceil(1_000_000);
        self.filled
            .saturating_add(u64::try_from(cost).unwrap_or(u64::MAX))
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Keeps a loaded value, unless an invalidation came in between or a limit forbids it.
    pub(crate) fn keep_value(
        &self,
        fill: &Fill<'_, K>,
        value: V,
        options: &EntryOptions,
    ) -> (Cached<V>, Option<BelowWrite>) {
        let draw = self.common.chance.unit();
        let times = self.policy.times(options, fill.filled, fill.cost, draw);
        let body = self.body_of(&value, options, fill.ask.wish.tiers);
        let facts = self.facts(&fill.ask.key, times, options).of(&body);
        let meta = self.meta(fill.ask.hash, fill.ask.token, &facts, options);
        let entry = Arc::new(Entry::new(value, meta));
        let write = self.keep(fill, &entry, body, facts, options);
        (Cached::new(entry, false), write)
    }

    /// Keeps an old value on whose loader said that it still holds: its time begins anew.
    pub(crate) fn keep_again(
        &self,
        fill: &Fill<'_, K>,
        old: &Cached<V>,
        options: &EntryOptions,
    ) -> (Cached<V>, Option<BelowWrite>) {
        let draw = self.common.chance.unit();
        let times = self.policy.times(options, fill.filled, fill.cost, draw);
        let before = &old.entry().meta;
        let mut facts = self.facts(&fill.ask.key, times, options);
        let kept = before.tags.iter().filter(|tag| !facts.tags.contains(tag));
        facts.tags = facts.tags.iter().chain(kept).copied().collect();
        facts.validator = facts.validator.or_else(|| before.validator.clone());
        let body = self.body_of(old, options, fill.ask.wish.tiers);
        let facts = facts.of(&body);
        let meta = self.meta(fill.ask.hash, fill.ask.token, &facts, options);
        let entry = Arc::new(old.entry().renewed(meta));
        let write = self.keep(fill, &entry, body, facts, options);
        (Cached::new(entry, false), write)
    }

    /// Keeps that there is none; `had_old` says whether a value is known that must go then.
    pub(crate) fn keep_absent(
        &self,
        fill: &Fill<'_, K>,
        options: &EntryOptions,
        had_old: bool,
    ) -> Option<BelowWrite> {
        let ask = fill.ask;
        if ask.wish.tiers == TierSet::NONE {
            return None;
        }
        let draw = self.common.chance.unit();
        let times = self
            .policy
            .negative_times(options, fill.filled, fill.cost, draw);
        let facts = self.facts(&ask.key, times, options);
        if self.standing(ask.hash, &facts.tags, ask.token.local) != Standing::Valid {
            self.meter.unpublished.add();
            return None;
        }
        if times.over(fill.end()) || options.uncached {
            self.memory.remove(&ask.key);
            // Else the old value could come back as a fallback when the source fails.
            return had_old.then(|| {
                let entry = self.entry_key(&ask.key, ask.hash);
                let change = Change::key(self.id, ask.hash, Effect::Remove, entry);
                BelowWrite::Gone(self.ledger.announce(&[change]))
            });
        }
        if ask.wish.tiers.contains(TierKind::Memory) {
            let meta = self.meta(ask.hash, ask.token, &facts, options);
            self.put_absent(&ask.key, Arc::new(Entry::new((), meta)));
        }
        self.lower.as_ref()?;
        let body = Body::absent();
        Some(BelowWrite::Entry(Kept { body, facts }))
    }

    fn keep(
        &self,
        fill: &Fill<'_, K>,
        entry: &Arc<Entry<V>>,
        body: Result<Option<Body>, Unkept>,
        facts: Facts,
        options: &EntryOptions,
    ) -> Option<BelowWrite> {
        let ask = fill.ask;
        if ask.wish.tiers == TierSet::NONE {
            // It went past the cache, which stays as it is.
            return None;
        }
        // Those of the value that was renewed come on top; an entry that lacks one is never invalidated
        // by it.
        let tagged = facts.tags.len() <= TAGS_MAX;
        let Some(body) = body.ok().filter(|_| tagged) else {
            self.meter.unkept.add();
            // What memory has is older than what the caller is given now.
            self.memory.remove(&ask.key);
            return None;
        };
        if options.uncached || facts.times.over(fill.end()) {
            self.memory.remove(&ask.key);
            return None;
        }
        if self.standing(ask.hash, &facts.tags, ask.token.local) != Standing::Valid {
            self.meter.unpublished.add();
            return None;
        }
        if ask.wish.tiers.contains(TierKind::Memory) {
            self.put_value(&ask.key, entry, body.as_ref());
        }
        body.map(|body| BelowWrite::Entry(Kept { body, facts }))
    }

    /// Puts a value into memory, as it is or packed.
    pub(crate) fn put_value(&self, key: &K, entry: &Arc<Entry<V>>, body: Option<&Body>) {
        match body.filter(|body| self.packs(body.raw_len())) {
            Some(body) => {
                let meta = entry.meta.with_times(entry.meta.times);
                let packed = Arc::new(Entry::new(body.packed(), meta));
                self.put(key, Slot::Packed(packed), body.len());
            }
            None => self.put(key, Slot::Value(Arc::clone(entry)), entry.meta.bytes),
        }
    }

    /// Puts a value into memory whose encoding is not at hand.
    pub(crate) fn put_decoded(&self, key: &K, entry: &Arc<Entry<V>>) {
        let lower = self.lower.as_ref();
        let lower = lower.filter(|_| self.packs(entry.meta.bytes));
        let body = lower.and_then(|lower| lower.envelope.encode(entry.value()).ok());
        self.put_value(key, entry, body.as_ref());
    }

    pub(crate) fn put_absent(&self, key: &K, entry: Arc<Entry<()>>) {
        self.put(key, Slot::Absent(entry), 0);
    }

    /// Whether memory holds a value of such an encoding packed.
    fn packs(&self, bytes: usize) -> bool {
        self.policy.pack_above.is_some_and(|above| bytes >= above)
    }

    /// Puts a slot into memory, and takes it out again if it was invalidated meanwhile: whoever removes a
    /// key looks into memory once, after its floor has risen.
    fn put(&self, key: &K, slot: Slot<V>, bytes: usize) {
        let put = slot.clone();
        self.memory.insert(key.clone(), slot, bytes);
        let meta = put.meta();
        if self.standing_of(meta) == Standing::Removed {
            self.memory
                .remove_if(key, |slot| std::ptr::eq(slot.meta(), meta));
        } else {
            meta.settled.store(true, Ordering::Release);
        }
    }

    /// The value of a packed slot.
    pub(super) fn unpack(&self, packed: &Entry<bytes::Bytes>) -> Option<Arc<Entry<V>>> {
        let lower = self.lower.as_ref()?;
        let value = lower.envelope.unpack(packed.value()).ok()?;
        let meta = packed.meta.with_times(packed.meta.times);
        Some(Arc::new(Entry::new(value, meta)))
    }

    /// The bytes of a value; `None` where nobody wants them.
    pub(crate) fn body_of(
        &self,
        value: &V,
        options: &EntryOptions,
        tiers: TierSet,
    ) -> Result<Option<Body>, Unkept> {
        if options.tags.len() > self.policy.max_tags {
            tracing::debug!(
                cache = &*self.name,
                tags = options.tags.len(),
                "too many tags: not kept"
            );
            return Err(Unkept);
        }
        let Some(lower) = &self.lower else {
            return Ok(None);
        };
        let held = self.policy.pack_above.is_some() || self.memory.weighs_encodings();
        if options.uncached || !(held || self.asks_below(tiers)) {
            return Ok(None);
        }
        lower.envelope.encode(value).map(Some).map_err(|reason| {
            tracing::debug!(cache = &*self.name, ?reason, "value not kept");
            Unkept
        })
    }

    pub(crate) fn facts(&self, key: &K, times: Times, options: &EntryOptions) -> Facts {
        let mut tags = self.known_tags(key, options);
        tags.sort_unstable();
        tags.dedup();
        Facts {
            times,
            tags: tags.into(),
            validator: options.validator.as_deref().map(Into::into),
            bytes: 0,
        }
    }

    /// The facts of an entry as memory holds them.
    pub(crate) fn meta(
        &self,
        hash: u64,
        token: Token,
        facts: &Facts,
        options: &EntryOptions,
    ) -> Meta {
        let times = if self.asks_below(self.tiers) {
            let (now, draw) = (self.clock.exact_ms(), self.common.chance.unit());
            self.policy.memory_times(facts.times, options, now, draw)
        } else {
            facts.times
        };
        Meta {
            times,
            seen: AtomicU64::new(token.local),
            local: AtomicU64::new(token.local),
            settled: AtomicBool::new(false),
            shared: token.shared,
            key: hash,
            tags: facts.tags.clone(),
            validator: facts.validator.clone(),
            read: AtomicU64::new(facts.times.filled),
            bytes: facts.bytes,
        }
    }

    /// Writes what a flight has left to do below memory.
    pub(crate) async fn write_below(&self, ask: &Ask<K>, write: BelowWrite) {
        match write {
            BelowWrite::Gone(ticket) => {
                self.ledger.settle(ticket).await;
            }
            BelowWrite::Entry(kept) => {
                let shared = Some((ask.token.shared, ask.token.origin));
                let versions = Versions {
                    local: ask.token.local,
                    shared: shared.filter(|(_, origin)| *origin != 0),
                    insertion: false,
                };
                let (hash, tiers) = (ask.hash, ask.wish.tiers);
                for scope in [TierScope::Shared, TierScope::Process] {
                    self.write_entry(&ask.key, hash, &kept, &versions, tiers, scope)
                        .await;
                }
            }
        }
    }

    /// Writes an entry to the tiers of one scope, as long as nothing newer is known; whether all of
    /// them have it now.
    pub(crate) async fn write_entry(
        &self,
        key: &K,
        hash: u64,
        kept: &Kept,
        versions: &Versions,
        tiers: TierSet,
        scope: TierScope,
    ) -> bool {
        let Some((lower, entry_key)) = self.lower.as_ref().zip(self.entry_key(key, hash)) else {
            return false;
        };
        let local = Some((Version(versions.local), self.common.origin));
        let mut all = true;
        for tier in lower.tiers.iter().filter(|tier| tier.scope() == scope) {
            let version = match scope {
                TierScope::Process => local,
                TierScope::Shared => versions.shared,
            };
            let facts = &kept.facts;
            let wanted = tiers.contains(tier.kind())
                && self.standing(hash, &facts.tags, versions.local) == Standing::Valid
                // The tier waits for this very insertion.
                && (versions.insertion || !self.closed_off(scope, hash, &facts.tags));
            let Some((version, origin)) = version.filter(|_| wanted) else {
                all = false;
                continue;
            };
            let header = Header {
                origin,
                version,
                times: facts.times,
                tags: &facts.tags,
                validator: facts.validator.as_deref(),
            };
            let sealed = Sealed {
                bytes: lower.envelope.seal(&kept.body, &entry_key.text, &header),
                version,
                insertion: versions.insertion,
            };
            let keep_for = facts.times.keep_for(self.clock.exact_ms());
            all &= tier.write(&entry_key, sealed, keep_for).await;
        }
        all
    }
}

/// A value that is handed out and kept nowhere; the reason is logged.
#[derive(Debug)]
pub(crate) struct Unkept;
