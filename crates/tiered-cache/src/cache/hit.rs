//! What memory says of a key; the path of a hit is the whole of `seek`.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::Inner;
use crate::{
    cached::{Cached, TierKind},
    coherence::Standing,
    key::{CacheKey, key_hash},
    memory::{Entry, Meta, Slot},
    policy::{Freshness, freshness, may_refresh_early},
    stats::Outcome,
};

/// What memory has of a key, by what may be done with it.
pub(crate) enum Seen<V> {
    Fresh(Cached<V>),
    /// Fresh, and to be refreshed in the background.
    Due(Cached<V>),
    /// Served while it is refreshed.
    Stale(Cached<V>),
    /// Served as it is: its loader failed a moment ago.
    Quiet(Cached<V>),
    /// For when the loader fails.
    Fallback(Cached<V>),
    /// Known not to exist.
    Absent,
    /// There was one, which may not be served any more.
    Gone,
    Nothing,
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Looks into memory and counts the read.
    #[inline]
    pub(crate) fn read_memory(self: &Arc<Self>, key: &K) -> Seen<V> {
        let seen = self.seek(key, true);
        self.meter.read(TierKind::Memory, seen.outcome());
        match &seen {
            Seen::Fresh(value) | Seen::Due(value) => {
                self.watch_read(key, value.entry().meta.key, Some(value));
            }
            _ => self.watch_read(key, key_hash(key, self.id), None),
        }
        seen
    }

    /// Looks into memory; counts as no read, for sliding expiry neither.
    pub(crate) fn look(&self, key: &K) -> Seen<V> {
        self.seek(key, false)
    }

    /// A hit allocates nothing, formats no key, takes no lock but the shard's, and reads no clock but the
    /// coarse one.
    #[inline]
    fn seek(&self, key: &K, is_read: bool) -> Seen<V> {
        match self.memory.get(key) {
            Some(Slot::Value(entry)) if self.plain && self.serves(&entry.meta) => {
                Seen::Fresh(Cached::new(entry, false))
            }
            Some(slot) => self.look_closer(key, slot, is_read),
            None => Seen::Nothing,
        }
    }

    #[inline]
    fn serves(&self, meta: &Meta) -> bool {
        let (now, times) = (self.clock.now_ms(), &meta.times);
        now < times.fresh_until
            && now < times.refresh_from
            && now < self.ledger.served_until(times.filled)
            && self
                .floors
                .admits(&self.floor, meta.key, &meta.tags, &meta.seen)
    }

    #[cold]
    fn look_closer(&self, key: &K, slot: Slot<V>, is_read: bool) -> Seen<V> {
        let meta = slot.meta();
        let (now, standing) = (self.clock.now_ms(), self.standing_in_memory(meta));
        let phase = self.phase(meta, now, standing);
        if phase == Freshness::Gone {
            // This one only: a newer one may have come in meanwhile.
            let meta = std::ptr::from_ref(meta);
            self.memory
                .remove_if(key, |slot| std::ptr::eq(slot.meta(), meta));
            return Seen::Gone;
        }
        // A silent log: it is not known any more whether it still holds.
        if now >= self.ledger.served_until(meta.times.filled) {
            return Seen::Gone;
        }
        if is_read && phase <= Freshness::Due && meta.times.idle_ms != 0 {
            meta.read.store(now, Relaxed);
        }
        let entry = match slot {
            Slot::Value(entry) => entry,
            Slot::Absent(_) if phase <= Freshness::Due => return Seen::Absent,
            Slot::Absent(_) => return Seen::Gone,
            Slot::Packed(packed) => match self.unpack(&packed) {
                Some(entry) => entry,
                None => return Seen::Gone,
            },
        };
        sort(entry, phase)
    }

    /// In which phase of its life an entry of memory is.
    pub(crate) fn phase(&self, meta: &Meta, now: u64, standing: Standing) -> Freshness {
        let early = self.policy.early_refresh;
        let early = early.filter(|beta| may_refresh_early(&meta.times, now, *beta));
        let early = early.map(|beta| (beta, self.common.chance.unit()));
        freshness(&meta.times, meta.read.load(Relaxed), now, standing, early)
    }
}

fn sort<V>(entry: Arc<Entry<V>>, phase: Freshness) -> Seen<V> {
    let value = Cached::new(entry, phase.is_stale());
    match phase {
        Freshness::Fresh => Seen::Fresh(value),
        Freshness::Due => Seen::Due(value),
        Freshness::Revalidate => Seen::Stale(value),
        Freshness::Throttled => Seen::Quiet(value),
        Freshness::Fallback => Seen::Fallback(value),
        Freshness::Gone => Seen::Gone,
    }
}

impl<V> Seen<V> {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Fresh(_) | Self::Due(_) => Outcome::Hit,
            Self::Absent => Outcome::Absent,
            Self::Stale(_) | Self::Quiet(_) | Self::Fallback(_) | Self::Gone => Outcome::Stale,
            Self::Nothing => Outcome::Miss,
        }
    }

    /// What may stand in when the loader fails.
    pub(crate) fn fallback(self) -> Option<Cached<V>> {
        match self {
            Self::Stale(value) | Self::Quiet(value) | Self::Fallback(value) => Some(value),
            Self::Fresh(value) | Self::Due(value) => Some(value),
            Self::Absent | Self::Gone | Self::Nothing => None,
        }
    }
}
