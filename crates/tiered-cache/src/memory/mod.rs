//! The memory tier: entries under keys, bounded by count or by bytes, on quick_cache.

mod entry;
mod kept;
mod sweep;

pub(crate) use entry::{Entry, Meta, Slot, Times};

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::{SharedSeed, fast::SeedableRandomState};
use quick_cache::{OptionsBuilder, sync::Cache};

use crate::{hash::unique, key::CacheKey, policy::Capacity};
pub(crate) use kept::OnEvict;
use kept::{Evicted, Kept, Tally, Totals, Unit};
use sweep::Sweep;

/// How many bytes a value takes on the heap, with its key.
pub(crate) type Weigh<K, V> = Arc<dyn Fn(&K, &V) -> usize + Send + Sync>;

type Entries<K, V> = Cache<K, Kept<V>, Unit, SeedableRandomState, Tally<K, V>>;

/// The entries of one cache in this process.
///
/// Which entry leaves when there is no room is decided by quick_cache: S3-FIFO's queues, a relative of
/// LRU that a scan cannot flush. Nothing here looks at time or floors but [`sweep`](Self::sweep): the
/// caller decides whether what it gets may be served. Values and keys are dropped outside all locks.
pub(crate) struct Memory<K, V> {
    entries: Arc<Entries<K, V>>,
    unit: Unit,
    weigh: Option<Weigh<K, V>>,
    totals: Arc<Totals>,
    /// An entry above this weight would be refused by its shard.
    weight_max: AtomicU64,
    sweep: Sweep<K, V>,
}

impl<K: CacheKey, V: Send + Sync + 'static> Memory<K, V> {
    /// As [`watched`](Self::watched), with nobody who watches.
    #[cfg(test)]
    pub(crate) fn new(capacity: Capacity, weigh: Option<Weigh<K, V>>, seed: Option<u64>) -> Self {
        Self::watched(capacity, weigh, seed, None)
    }

    /// With a seed, the same calls evict the same entries in every process; without, nobody outside can
    /// choose keys that collide. `on_evict` is told each key that is evicted, outside all locks.
    pub(crate) fn watched(
        capacity: Capacity,
        weigh: Option<Weigh<K, V>>,
        seed: Option<u64>,
        on_evict: Option<OnEvict<K>>,
    ) -> Self {
        let (unit, weight, items) = match capacity {
            Capacity::Entries(entries) => (Unit::Entries, entries as u64, entries),
            Capacity::Bytes(bytes) => {
                let items = usize::try_from(bytes / ITEM_BYTES).unwrap_or(usize::MAX);
                (Unit::Bytes, bytes, items)
            }
        };
        let shards = match (seed, unit) {
            (Some(_), _) => 1,
            (None, Unit::Entries) => shards(weight / SHARD_ENTRIES_MIN),
            (None, Unit::Bytes) => shards(weight / SHARD_BYTES_MIN),
        };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(items.max(1))
            .weight_capacity(share_out(weight, shards))
            .shards(shards)
            .build()
            .expect("both capacities are set");
        let hasher = match seed {
            Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            None => SeedableRandomState::with_seed(unique(), SharedSeed::global_random()),
        };
        let tally = Tally::new(on_evict);
        let totals = Arc::clone(tally.totals());
        let entries = Arc::new(Cache::with_options(options, unit, hasher, tally));
        let memory = Self {
            sweep: Sweep::default(),
            weight_max: AtomicU64::new(0),
            entries,
            unit,
            weigh,
            totals,
        };
        memory.note_weight_max();
        memory
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<Slot<V>> {
        self.entries.get(key).map(Kept::into_slot)
    }

    /// Puts the entry in the place of what is there. `bytes` is the length of its encoding, or what else
    /// is known of its size; a value that can be weighed is. Returns `false`, with nothing left under the
    /// key, when it is larger than its share of the budget allows (about the whole of a shard).
    pub(crate) fn insert(&self, key: K, slot: Slot<V>, bytes: usize) -> bool {
        let bytes = self.bytes_of(&key, &slot, bytes);
        let kept = Kept::new(slot, bytes);
        if self.unit.of(&kept) > self.weight_max.load(Ordering::Relaxed) {
            self.remove(&key);
            return false;
        }
        self.totals.add(&kept);
        // Outlives the lock of the shard, which the next line takes and gives back.
        let mut evicted = Evicted::default();
        self.entries.insert_with_lifecycle(key, kept, &mut evicted);
        true
    }

    pub(crate) fn remove(&self, key: &K) -> Option<Slot<V>> {
        self.gone(self.entries.remove(key))
    }

    /// Removes the entry if it is still one of which `condition` is true; it runs under the shard's
    /// lock, so it must be quick and call nothing here.
    pub(crate) fn remove_if(
        &self,
        key: &K,
        condition: impl FnOnce(&Slot<V>) -> bool,
    ) -> Option<Slot<V>> {
        let removed = self.entries.remove_if(key, |kept| condition(kept.slot()));
        self.gone(removed)
    }

    /// Removes what is here now, one entry at a time: readers of other entries never wait for all.
    pub(crate) fn clear(&self) {
        for removed in self.entries.drain() {
            self.gone(Some(removed));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the entries take, in bytes, with keys and bookkeeping; an estimate where nothing weighs them.
    pub(crate) fn bytes(&self) -> u64 {
        self.totals.bytes()
    }

    /// How many entries had to leave for others, or for a lower budget.
    pub(crate) fn evicted(&self) -> u64 {
        self.totals.evicted()
    }

    /// Whether the length of a value's encoding is all that says how large it is.
    pub(crate) fn weighs_encodings(&self) -> bool {
        matches!(self.unit, Unit::Bytes) && self.weigh.is_none()
    }

    /// How many entries or bytes there is room for.
    pub(crate) fn capacity(&self) -> Capacity {
        let weight = self.entries.capacity();
        match self.unit {
            Unit::Entries => Capacity::Entries(usize::try_from(weight).unwrap_or(usize::MAX)),
            Unit::Bytes => Capacity::Bytes(weight),
        }
    }

    /// Makes the tier larger or smaller while it runs; what no longer fits is evicted before this
    /// returns. `false`, and nothing changed, if it counts the other thing (entries or bytes).
    pub(crate) fn set_budget(&self, capacity: Capacity) -> bool {
        let target = match (capacity, self.unit) {
            (Capacity::Entries(entries), Unit::Entries) => entries as u64,
            (Capacity::Bytes(bytes), Unit::Bytes) => bytes,
            (_, Unit::Entries | Unit::Bytes) => return false,
        };
        let target = share_out(target, self.entries.num_shards());
        // In steps, so that no lock is held while much more than a sixteenth of a shard is evicted.
        let mut step = self.entries.weight();
        while step > target {
            step = (step - step / STEPS - 1).max(target);
            self.entries.set_capacity(step);
        }
        self.entries.set_capacity(target);
        self.note_weight_max();
        true
    }

    /// Looks at the next `at_most` entries and removes those that are past their time; returns how many.
    ///
    /// The next call goes on where this one stopped; the end of a round ends a call. Two calls at a time
    /// take turns. Each entry is looked at under its shard's lock for itself.
    pub(crate) fn sweep(&self, now_ms: u64, at_most: usize) -> usize {
        self.sweep
            .slice(&self.entries, &self.totals, now_ms, at_most)
    }

    /// Every key that is here, for tests: the order is the tier's own.
    #[cfg(test)]
    pub(crate) fn for_each_key(&self, mut each: impl FnMut(&K)) {
        for (key, _) in self.entries.iter() {
            each(&key);
        }
    }

    fn gone(&self, removed: Option<(K, Kept<V>)>) -> Option<Slot<V>> {
        let (_, kept) = removed?;
        self.totals.subtract(&kept);
        Some(kept.into_slot())
    }

    fn bytes_of(&self, key: &K, slot: &Slot<V>, bytes: usize) -> usize {
        let meta = slot.meta();
        let facts =
            size_of_val::<[u64]>(&meta.tags) + meta.validator.as_ref().map_or(0, |text| text.len());
        let inline = size_of::<K>() + OVERHEAD;
        let own = match (slot, &self.weigh) {
            (Slot::Value(entry), Some(weigh)) => size_of::<V>() + weigh(key, entry.value()),
            (Slot::Value(_), None) => bytes.max(size_of::<V>()),
            (Slot::Packed(_) | Slot::Absent(_), _) => bytes,
        };
        own.saturating_add(facts).saturating_add(inline)
    }

    fn note_weight_max(&self) {
        let shard = self.entries.shard_capacity();
        // quick_cache keeps 3 % of a shard for newcomers, and admits nothing larger than the rest.
        let most = (shard as f64 * 0.97) as u64;
        self.weight_max.store(most.max(1), Ordering::Relaxed);
    }
}

impl<K, V> fmt::Debug for Memory<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("unit", &self.unit)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// A power of two, at most `most` and at most as many as quick_cache takes by itself.
fn shards(most: u64) -> usize {
    let parallel = std::thread::available_parallelism().map_or(1, usize::from);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    1 << most.clamp(1, 4 * parallel.next_power_of_two()).ilog2()
}

/// All shards get the same and no rounding goes above the budget; each has room for something, since a
/// shard without any would forget how many ghosts it may keep.
fn share_out(weight: u64, shards: usize) -> u64 {
    let shards = shards as u64;
    (weight - weight % shards).max(shards)
}

/// What an entry takes beside the inline size of its key and value and what they own: the shared
/// allocation with its facts, its places in quick_cache's map and slab, and the ghosts of evicted ones.
/// Measured with 1,000,000 `u64` keys and values: 225 bytes on 64-bit targets.
const OVERHEAD: usize = 225;
/// With fewer, a budget would be lost to the differences between shards.
const SHARD_ENTRIES_MIN: u64 = 128;
/// Each shard holds several values of the largest default size.
const SHARD_BYTES_MIN: u64 = 4 << 20;
/// A guess at the size of one entry, which only decides how many ghosts are kept; right within a factor
/// of ten is good enough.
const ITEM_BYTES: u64 = 1024;
const STEPS: u64 = 16;

#[cfg(test)]
mod tests;
