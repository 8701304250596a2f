//! What watches the reads of one cache: the sample for advice on its size, the hottest keys, and what was
//! loaded ahead. A hit of a plain cache pays one load, one comparison and one branch for it.

use std::{
    any::type_name,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio_util::task::TaskTracker;

use super::{Inner, TieredCache, fly::Ask, hit::Seen, load::Wish, warm::WarmSet};
use crate::{
    advice::{Inputs, Sampler, SizeAdvice},
    cached::Cached,
    caches::Registered,
    clock::millis,
    codec::shape_of,
    error::ConfigError,
    hash,
    key::{CacheKey, key_hash},
    policy::{Capacity, EntryOptions, Policy},
    warm::{Ahead, HotKeys, KEYS_MAX, Prefetched, Section, Successors},
};

/// What a builder was told of hot keys and loading ahead.
pub(crate) struct WatchPlan<K, V> {
    pub(super) hot: Option<Hot<K>>,
    pub(super) relations: Vec<Relation<K, V>>,
    pub(super) confidence: Option<f64>,
    pub(super) sets: Vec<WarmSet<K>>,
}

/// From a key that was loaded and its value, the keys that will be read soon.
pub(super) type Relation<K, V> = Arc<dyn Fn(&K, &V) -> Vec<K> + Send + Sync>;

/// The hottest keys, and how they are written down.
pub(super) struct Hot<K> {
    count: usize,
    /// Of the keys' type, as the manifest knows it.
    fingerprint: u64,
    keys: HotKeys<K>,
    encode: fn(&str, u64, &[K]) -> Section,
    decode: fn(&Section) -> Vec<K>,
}

pub(crate) struct Watch<K, V> {
    sampler: Sampler,
    /// Apart, so that a plain cache tests one pointer.
    extras: Option<Box<Extras<K, V>>>,
}

struct Extras<K, V> {
    hot: Option<Hot<K>>,
    ahead: Option<LoadsAhead<K, V>>,
    sets: Vec<WarmSet<K>>,
}

struct LoadsAhead<K, V> {
    relations: Vec<Relation<K, V>>,
    successors: Option<Successors<K>>,
    ahead: Ahead,
    /// Made when there is the first.
    prefetched: OnceLock<Prefetched>,
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// What a larger or smaller memory tier would have hit, from a sample of the reads so far.
    ///
    /// The sample costs at most about 200 KiB and 1.5 % of one core. See [`SizeAdvice`] for what it
    /// says and how sure it is.
    pub fn advice(&self) -> SizeAdvice {
        let inner = &*self.inner;
        let stats = inner.stats();
        let inputs = Inputs {
            cache: &inner.name,
            capacity: inner.memory.capacity(),
            size: inner.size(),
            reads: stats.memory.reads(),
            measured: stats.memory.hit_ratio(),
        };
        inner.watch.sampler.advice(&inputs)
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Sees a read of memory that found something.
    #[inline]
    pub(super) fn watch_read(self: &Arc<Self>, key: &K, hash: u64, value: Option<&Cached<V>>) {
        self.watch.sampler.record(hash, || self.clock.now_ms());
        if let Some(extras) = &self.watch.extras {
            self.watch_closer(extras, key, hash, value);
        }
    }

    fn watch_closer(
        self: &Arc<Self>,
        extras: &Extras<K, V>,
        key: &K,
        hash: u64,
        value: Option<&Cached<V>>,
    ) {
        if let Some(hot) = &extras.hot {
            hot.keys.record(key);
        }
        let Some(ahead) = &extras.ahead else { return };
        let prefetched = ahead.prefetched.get();
        if prefetched.is_some_and(|prefetched| prefetched.read(hash))
            && let Some(value) = value
        {
            self.meter.prefetch_hits.add();
            // Else only every second key of a chain would be there in time.
            self.follow(key, hash, session(), value);
        }
    }

    /// The number of the calling task, for flights begun by it; zero where nobody learns from it.
    pub(super) fn session(&self) -> u64 {
        let extras = self.watch.extras.as_ref();
        let ahead = extras.and_then(|extras| extras.ahead.as_ref());
        let learns = ahead.is_some_and(|ahead| ahead.successors.is_some());
        if learns { session() } else { 0 }
    }

    /// Begins to load what is probably read soon after this key.
    pub(super) fn follow(self: &Arc<Self>, key: &K, hash: u64, session: u64, value: &Cached<V>) {
        let Some(extras) = &self.watch.extras else {
            return;
        };
        let Some(ahead) = &extras.ahead else { return };
        let mut next = ahead.related(&self.name, key, value);
        if let Some(successors) = &ahead.successors {
            next.extend(successors.loaded(session, hash, key, self.clock.now_ms()));
        }
        for key in next.into_iter().take(RELATED_MAX) {
            self.load_ahead(key);
        }
    }

    /// Loads the key in the background, at low priority, unless memory has it or there is no room.
    pub(super) fn load_ahead(self: &Arc<Self>, key: K) {
        let held = matches!(
            self.look(&key),
            Seen::Fresh(_) | Seen::Due(_) | Seen::Absent
        );
        let extras = self.watch.extras.as_ref();
        let Some(ahead) = extras
            .and_then(|extras| extras.ahead.as_ref())
            .filter(|_| !held)
        else {
            return;
        };
        let inner = Arc::clone(self);
        if !ahead.ahead.begin(async move { inner.fly_ahead(key).await }) {
            self.meter.prefetch_skipped.add();
        }
    }

    async fn fly_ahead(self: Arc<Self>, key: K) {
        let Some(load) = self.registered(&key) else {
            return;
        };
        let hash = key_hash(&key, self.id);
        let known = self.known_tags(&key, &EntryOptions::default());
        let token = self.floors.token();
        let joins = |begun: &_| self.may_join(hash, &known, begun);
        // Somebody loads it already: then it is not ahead.
        let (_, Some(seat)) = self.flights.join(&key, token, joins) else {
            return;
        };
        let wish = Wish::default().within(self.tiers);
        let mut ask = Ask::new(key.clone(), hash, token, wish);
        ask.ahead = true;
        Arc::clone(&self).fly(seat, ask, load).await;
        let extras = self.watch.extras.as_ref();
        if let Some(ahead) = extras.and_then(|extras| extras.ahead.as_ref())
            && matches!(self.look(&key), Seen::Fresh(_) | Seen::Due(_))
        {
            self.meter.prefetched.add();
            ahead.prefetched.get_or_init(Prefetched::new).note(hash);
        }
    }

    /// A turn of housekeeping: lets old reads count less.
    pub(super) fn tend_watch(&self) {
        let entries = match self.memory.capacity() {
            Capacity::Entries(entries) => entries,
            Capacity::Bytes(_) => self.memory.len(),
        };
        self.watch
            .sampler
            .progress(self.meter.memory_reads(), entries);
        if let Some(hot) = self.hot() {
            hot.keys.age(self.clock.exact_ms());
        }
    }

    fn hot(&self) -> Option<&Hot<K>> {
        self.watch.extras.as_ref()?.hot.as_ref()
    }

    pub(super) fn warm_sets(&self) -> &[WarmSet<K>] {
        let extras = self.watch.extras.as_ref();
        extras.map_or(&[], |extras| &extras.sets)
    }

    /// The hottest keys for the manifest; `None` when the cache does not keep them, or knows none yet.
    pub(super) fn hottest(&self) -> Option<Section> {
        let hot = self.hot()?;
        let keys = hot.keys.top();
        let section = (hot.encode)(&self.name, hot.fingerprint, &keys);
        (!section.keys.is_empty()).then_some(section)
    }

    /// The keys of a section that an earlier process wrote.
    pub(super) fn keys_of(&self, section: &Section) -> Vec<K> {
        match self.hot() {
            Some(hot) if section.fingerprint == hot.fingerprint => (hot.decode)(section),
            _ => Vec::new(),
        }
    }
}

impl<K, V> WatchPlan<K, V> {
    pub(super) fn new() -> Self {
        Self {
            hot: None,
            relations: Vec::new(),
            confidence: None,
            sets: Vec::new(),
        }
    }

    /// Checks what can never work.
    pub(super) fn validate(&self, has_loader: bool) -> Result<(), ConfigError> {
        let bad = |field, value: String, expected| {
            Err(ConfigError::Value {
                field,
                value,
                expected,
            })
        };
        if let Some(hot) = self.hot.as_ref().filter(|hot| hot.count > KEYS_MAX) {
            return bad("hot_keys", hot.count.to_string(), "use at most 100,000");
        }
        if let Some(confidence) = self.confidence.filter(|share| !(0.0..=1.0).contains(share)) {
            return bad("learn_successors", confidence.to_string(), "use 0 to 1");
        }
        let needs = [
            ("related", !self.relations.is_empty()),
            ("learn_successors", self.confidence.is_some()),
            ("warm_set", !self.sets.is_empty()),
        ];
        match needs.into_iter().find(|(_, wanted)| *wanted && !has_loader) {
            Some((field, _)) => bad(field, "set".to_owned(), "register a loader beside it"),
            None => Ok(()),
        }
    }
}

impl<K: CacheKey> Hot<K> {
    pub(super) fn new(count: usize) -> Self
    where
        K: Serialize + DeserializeOwned,
    {
        Self {
            count,
            fingerprint: hash::mix(hash::text_hash(type_name::<K>()) ^ shape_of::<K>()),
            keys: HotKeys::new(count.min(KEYS_MAX)),
            encode: Section::of,
            decode: Section::keys,
        }
    }
}

impl<K: CacheKey, V> Watch<K, V> {
    /// With `loads`, there is a registered loader.
    pub(super) fn new(
        plan: WatchPlan<K, V>,
        policy: &Policy,
        tasks: &TaskTracker,
        loads: bool,
    ) -> Self {
        let ttl_ms = millis(policy.ttl);
        let entries = match policy.capacity {
            Capacity::Entries(entries) => entries,
            // The housekeeping tells how many fit.
            Capacity::Bytes(bytes) => usize::try_from(bytes / ENTRY_BYTES).unwrap_or(usize::MAX),
        };
        let ahead = loads.then(|| LoadsAhead {
            relations: plan.relations,
            successors: plan.confidence.map(Successors::new),
            ahead: Ahead::new(tasks.clone()),
            prefetched: OnceLock::new(),
        });
        let extras = Extras {
            hot: plan.hot,
            ahead,
            sets: plan.sets,
        };
        let any = extras.hot.is_some() || extras.ahead.is_some() || !extras.sets.is_empty();
        Self {
            sampler: Sampler::new(entries, ttl_ms),
            extras: any.then(|| Box::new(extras)),
        }
    }
}

impl<K, V> LoadsAhead<K, V> {
    fn related(&self, cache: &str, key: &K, value: &V) -> Vec<K> {
        let mut keys = Vec::new();
        for relation in &self.relations {
            // It shares no state with the cache.
            match catch_unwind(AssertUnwindSafe(|| relation(key, value))) {
                Ok(related) => keys.extend(related),
                Err(_) => tracing::warn!(cache, "a relation panicked: nothing is loaded ahead"),
            }
        }
        keys
    }
}

impl<K, V> fmt::Debug for Watch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("sampler", &self.sampler)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for WatchPlan<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchPlan")
            .field("hot_keys", &self.hot.is_some())
            .field("relations", &self.relations.len())
            .field("learns_successors", &self.confidence.is_some())
            .field("warm_sets", &self.sets.len())
            .finish()
    }
}

fn session() -> u64 {
    use fmt::Write;
    let mut hasher = hash::KeyHasher::new(0);
    match tokio::task::try_id() {
        Some(id) => drop(write!(hasher, "{id}")),
        None => return 0,
    }
    hasher.finish()
}

/// From one read; more is a wrong relation rather than a need.
const RELATED_MAX: usize = 64;
/// A guess that only sets how many keys are sampled at first.
const ENTRY_BYTES: u64 = 1024;
