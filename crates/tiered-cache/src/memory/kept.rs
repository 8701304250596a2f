//! What quick_cache is given: slots with their size, how they weigh, and what becomes of evicted ones.

use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::{Lifecycle, Weighter};

use super::Slot;

/// A slot with its size, which never changes while it is here.
pub(super) struct Kept<V> {
    slot: Slot<V>,
    bytes: u32,
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Entries,
    Bytes,
}

/// Sums over all shards; written by insertions and removals, never by a hit.
#[derive(Debug, Default)]
pub(super) struct Totals {
    bytes: AtomicU64,
    evicted: AtomicU64,
}

/// Counts what leaves a shard by itself, and keeps it for the caller to drop.
pub(super) struct Tally<K, V> {
    totals: Arc<Totals>,
    on_evict: Option<OnEvict<K>>,
    of: PhantomData<fn(K, V)>,
}

/// Told each key that is evicted, once it is out.
pub(crate) type OnEvict<K> = Arc<dyn Fn(&K) + Send + Sync>;

/// What one call evicted or replaced; told and dropped with this, when the lock of the shard is given back.
pub(super) struct Evicted<K, V> {
    /// Most calls evict one or two.
    first: [Option<Gone<K, V>>; 2],
    more: Vec<Gone<K, V>>,
    /// Whom the next one is to be told to: it is evicted, and no replacement.
    tell: Option<OnEvict<K>>,
}

struct Gone<K, V> {
    key: K,
    _kept: Kept<V>,
    tell: Option<OnEvict<K>>,
}

impl<V> Kept<V> {
    pub(super) fn new(slot: Slot<V>, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { slot, bytes }
    }

    pub(super) fn slot(&self) -> &Slot<V> {
        &self.slot
    }

    #[inline]
    pub(super) fn into_slot(self) -> Slot<V> {
        self.slot
    }
}

// By hand: a derive would ask for `V: Clone`.
impl<V> Clone for Kept<V> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
            bytes: self.bytes,
        }
    }
}

impl Unit {
    /// Never 0, which would mean "cannot be evicted".
    pub(super) fn of<V>(self, kept: &Kept<V>) -> u64 {
        match self {
            Self::Entries => 1,
            Self::Bytes => u64::from(kept.bytes).max(1),
        }
    }
}

impl<K, V> Weighter<K, Kept<V>> for Unit {
    fn weight(&self, _: &K, kept: &Kept<V>) -> u64 {
        self.of(kept)
    }
}

impl Totals {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Before the entry is inserted, so that the sum is never below zero.
    pub(super) fn add<V>(&self, kept: &Kept<V>) {
        self.bytes
            .fetch_add(u64::from(kept.bytes), Ordering::Relaxed);
    }

    pub(super) fn subtract<V>(&self, kept: &Kept<V>) {
        self.bytes
            .fetch_sub(u64::from(kept.bytes), Ordering::Relaxed);
    }
}

impl<K, V> Tally<K, V> {
    pub(super) fn new(on_evict: Option<OnEvict<K>>) -> Self {
        Self {
            totals: Arc::default(),
            on_evict,
            of: PhantomData,
        }
    }

    pub(super) fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }
}

impl<K, V> Clone for Tally<K, V> {
    fn clone(&self) -> Self {
        Self {
            totals: Arc::clone(&self.totals),
            on_evict: self.on_evict.clone(),
            of: PhantomData,
        }
    }
}

impl<K, V> Lifecycle<K, Kept<V>> for Tally<K, V> {
    type RequestState = Evicted<K, V>;

    fn before_evict(&self, evicted: &mut Evicted<K, V>, _: &K, _: &mut Kept<V>) {
        // The one hook that replacements do not pass.
        self.totals.evicted.fetch_add(1, Ordering::Relaxed);
        evicted.tell = self.on_evict.clone();
    }

    fn on_evict(&self, evicted: &mut Evicted<K, V>, key: K, kept: Kept<V>) {
        self.totals.subtract(&kept);
        let gone = Gone {
            key,
            _kept: kept,
            tell: evicted.tell.take(),
        };
        match evicted.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(gone),
            None => evicted.more.push(gone),
        }
    }
}

impl<K, V> Default for Evicted<K, V> {
    fn default() -> Self {
        Self {
            first: [None, None],
            more: Vec::new(),
            tell: None,
        }
    }
}

impl<K, V> Drop for Gone<K, V> {
    fn drop(&mut self) {
        if let Some(tell) = &self.tell {
            // It shows the key, whose own code may panic; others are dropped beside this one.
            let _ = catch_unwind(AssertUnwindSafe(|| tell(&self.key)));
        }
    }
}

impl<V> fmt::Debug for Kept<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
