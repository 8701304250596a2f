//! `TieredCache`: one typed cache over its tiers.

use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    clock::Clock,
    envelope::{Body, Codec, Reject},
    error::{BoxError, ConfigError, LoadError},
    flight::{Flights, Seat},
    floors::{CacheFloors, Floors},
    hash,
    key::{CacheKey, key_hash, key_text},
    lookup::{Lookup, TierKind},
    memory::{Found, Memory},
    policy::Policy,
    stats::{CacheStats, Meter, Outcome},
    tier::{EntryKey, Read, Target, Tier},
};

/// One typed cache over memory and, where configured, Redis and disk; a cheap clone of a handle.
///
/// Reads never fail for the sake of a tier: what Redis or the disk cannot answer is a miss. All
/// methods must be called within a tokio runtime.
pub struct TieredCache<K, V> {
    inner: Arc<Inner<K, V>>,
}

/// All a cache consists of; background work holds it until it is done.
pub(crate) struct Inner<K, V> {
    pub(crate) name: Arc<str>,
    pub(crate) seed: u64,
    pub(crate) policy: Policy,
    pub(crate) memory: Memory<K, V>,
    pub(crate) flights: Arc<Flights<K, V>>,
    pub(crate) floors: CacheFloors,
    /// Below memory, in the order in which they are asked.
    pub(crate) lower: Option<Lower<V>>,
    pub(crate) clock: Clock,
    pub(crate) tasks: TaskTracker,
    pub(crate) meter: Meter,
}

pub(crate) struct Lower<V> {
    pub(crate) tiers: Arc<[Arc<dyn Tier>]>,
    pub(crate) codec: Codec<V>,
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// A cache in memory alone, which needs no [`Caches`](crate::Caches) and no serde.
    ///
    /// # Errors
    /// [`ConfigError`] for a name or policy that cannot work.
    pub fn memory(name: &str, policy: Policy) -> Result<Self, ConfigError> {
        check_name("cache name", name)?;
        policy.check()?;
        let seed = hash::text_hash(name);
        Ok(Self::assemble(Inner {
            name: name.into(),
            seed,
            memory: Memory::new(policy.memory_capacity),
            flights: Arc::new(Flights::new()),
            floors: Arc::new(Floors::new(MEMORY_STRIPES)).of_cache(seed),
            lower: None,
            clock: Clock::start(),
            tasks: TaskTracker::new(),
            meter: Meter::new(name),
            policy,
        }))
    }

    pub(crate) fn assemble(inner: Inner<K, V>) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The value, from the first tier that has it; a value found below memory is kept in memory.
    ///
    /// Dropping the future is safe at any point.
    pub async fn get(&self, key: &K) -> Lookup<V> {
        let inner = &*self.inner;
        if let Some(value) = inner.in_memory(key) {
            return Lookup::Hit {
                value,
                tier: TierKind::Memory,
            };
        }
        if inner.lower.is_none() {
            return Lookup::Miss;
        }
        let hash = key_hash(key, inner.seed);
        let token = inner.floors.token(hash);
        inner
            .find_below(key, hash, token)
            .await
            .unwrap_or(Lookup::Miss)
    }

    /// The value from a tier, or else from `loader`, which runs once however many callers ask.
    ///
    /// The load runs on a task of its own: it goes on, and is kept, when this future is dropped. A
    /// caller that asks after `insert`, `remove` or `clear` never gets a load begun before it.
    /// `Ok(None)` of the loader is answered as [`Lookup::Miss`] and not kept; errors are not kept
    /// either.
    ///
    /// # Errors
    /// [`LoadError`]: the loader failed, panicked, or ran longer than `Policy::load_timeout`.
    pub async fn get_or_load<F, Fut, E>(&self, key: &K, loader: F) -> Result<Lookup<V>, LoadError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let inner = &self.inner;
        if let Some(value) = inner.in_memory(key) {
            return Ok(Lookup::Hit {
                value,
                tier: TierKind::Memory,
            });
        }
        let hash = key_hash(key, inner.seed);
        let token = inner.floors.token(hash);
        let may_join = |older| inner.floors.allows(hash, older);
        let (waiter, seat) = inner.flights.join(key, token, may_join);
        match seat {
            // CANCEL: the task owns the seat, so a caller who goes away neither ends the load nor
            // leaves the key blocked.
            Some(seat) => {
                let task = Arc::clone(inner).fly(seat, key.clone(), hash, token, loader);
                drop(inner.tasks.spawn(task));
            }
            None => inner.meter.coalesced.add(),
        }
        waiter.outcome().await
    }

    /// Keeps `value` under the key in every tier, in place of whatever was there or is being loaded.
    ///
    /// When it returns, no later read of this process sees an older value. A value that is too
    /// large for the policy is not kept, but the older one still goes. Dropping the future leaves
    /// the value in memory; below, it is then kept or missing, never older.
    pub async fn insert(&self, key: &K, value: V) {
        self.insert_arc(key, Arc::new(value)).await;
    }

    /// As [`insert`](Self::insert), for a value that is shared already.
    pub async fn insert_arc(&self, key: &K, value: Arc<V>) {
        let inner = &*self.inner;
        inner.meter.inserts.add();
        let Ok(body) = inner.encode(&value) else {
            return inner.invalidate(key).await;
        };
        let (hash, entry) = inner.entry(key);
        let target = Target::Key {
            hash,
            entry: entry.as_ref(),
        };
        let ttl = inner.ttl(hash);
        let tickets = inner.announce(target);
        let version = inner
            .floors
            .raise(hash, || inner.memory.insert(key.clone(), value, ttl));
        inner.record(target, version);
        inner.meter.entries(inner.memory.len());
        if let (Some(entry), Some(body)) = (&entry, &body) {
            inner
                .write_below(entry, body, version, ttl, Some(&tickets))
                .await;
        }
    }

    /// Takes the key out of every tier.
    ///
    /// When it returns, no later read of this process sees the old value: not from a load that was
    /// in flight, not from a tier that could not be reached, not after a restart. Dropping the
    /// future is safe: what makes the value unreachable here happens before the first wait, and
    /// Redis is told in the background.
    pub async fn remove(&self, key: &K) {
        self.inner.meter.removals.add();
        self.inner.invalidate(key).await;
    }

    /// Takes every key of this cache out of every tier; other caches keep theirs.
    ///
    /// In Redis this walks the keys of the database, so it is for rare use. It promises what
    /// [`remove`](Self::remove) does, dropping the future included.
    pub async fn clear(&self) {
        let inner = &*self.inner;
        inner.meter.removals.add();
        let target = Target::Cache {
            name: &inner.name,
            hash: inner.seed,
        };
        let tickets = inner.announce(target);
        let version = inner.floors.raise_all(|| inner.memory.clear());
        inner.record(target, version);
        inner.meter.entries(inner.memory.len());
        inner.settle(target, &tickets).await;
    }

    /// The counts since the cache was made.
    pub fn stats(&self) -> CacheStats {
        self.inner
            .meter
            .snapshot(&self.inner.name, self.inner.memory.len())
    }

    /// The name given at construction.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The policy given at construction.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }
}

// === impl Inner: reading ===

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// A hit takes no key text, no token and no allocation.
    fn in_memory(&self, key: &K) -> Option<Arc<V>> {
        let (outcome, value) = match self.memory.get(key) {
            Found::Fresh(value) => (Outcome::Hit, Some(value)),
            Found::Expired => (Outcome::Stale, None),
            Found::Absent => (Outcome::Miss, None),
        };
        self.meter.read(TierKind::Memory, outcome);
        value
    }

    /// Asks the tiers below memory; what one has goes to memory, if the token still holds.
    async fn find_below(&self, key: &K, hash: u64, token: u64) -> Option<Lookup<V>> {
        let lower = self.lower.as_ref()?;
        let entry = self.entry_below(key, hash)?;
        for tier in &*lower.tiers {
            let (outcome, found) = match tier.read(&entry).await {
                Read::Found(bytes) => self.accept(&lower.codec, &**tier, &entry, &bytes),
                Read::Absent => (Outcome::Miss, None),
                Read::Bypassed => (Outcome::Bypassed, None),
                Read::Failed => (Outcome::Error, None),
            };
            self.meter.read(tier.kind(), outcome);
            if let Some((value, ttl)) = found {
                self.publish(key, hash, token, &value, ttl);
                return Some(Lookup::Hit {
                    value,
                    tier: tier.kind(),
                });
            }
        }
        None
    }

    /// Whether the bytes may be served, and for how long.
    fn accept(
        &self,
        codec: &Codec<V>,
        tier: &dyn Tier,
        entry: &EntryKey,
        bytes: &[u8],
    ) -> (Outcome, Option<(Arc<V>, Duration)>) {
        let now_ms = self.clock.unix_ms();
        let (value, stamp) = match codec.open(bytes, &entry.text, now_ms) {
            Ok(opened) => opened,
            Err(Reject::Invalid) => return (Outcome::Invalid, None),
            Err(Reject::Stale) => return (Outcome::Stale, None),
        };
        // Versions compare only with floors of the same origin. A tier of our own must hold nothing
        // else; in a shared one, other origins are trusted until their time is up.
        let ours = stamp.origin == codec.origin;
        if ours && !self.floors.allows(entry.hash, stamp.version) || !ours && !tier.shared() {
            return (Outcome::Stale, None);
        }
        // Never longer than the policy, whatever the clocks did since it was written.
        let left = Duration::from_millis(stamp.expires_ms - now_ms).min(self.policy.ttl);
        (Outcome::Hit, Some((Arc::new(value), left)))
    }

    /// The life of one load, from the tiers below to the answer of all waiters.
    async fn fly<F, Fut, E>(
        self: Arc<Self>,
        seat: Seat<K, V>,
        key: K,
        hash: u64,
        token: u64,
        loader: F,
    ) where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        // Another flight may have landed between this caller's look and its seat.
        if let Found::Fresh(value) = self.memory.get(&key) {
            return seat.land(Ok(Lookup::Hit {
                value,
                tier: TierKind::Memory,
            }));
        }
        if let Some(found) = self.find_below(&key, hash, token).await {
            return seat.land(Ok(found));
        }
        let loaded = match self.load(loader).await {
            Ok(Some(value)) => Arc::new(value),
            Ok(None) => return seat.land(Ok(Lookup::Miss)),
            Err(error) => return seat.land(Err(error)),
        };
        let body = self.encode(&loaded);
        let ttl = self.ttl(hash);
        let kept = body.is_ok() && self.publish(&key, hash, token, &loaded, ttl);
        // Memory first, then the answer: who asks next finds it, and nobody waits for Redis.
        seat.land(Ok(Lookup::Loaded { value: loaded }));
        if let (true, Ok(Some(body)), Some(entry)) = (kept, body, self.entry_below(&key, hash)) {
            self.write_below(&entry, &body, token, ttl, None).await;
        }
    }

    async fn load<F, Fut, E>(&self, loader: F) -> Result<Option<V>, LoadError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<V>, E>>,
        E: Into<BoxError> + Send + 'static,
    {
        let started = Instant::now();
        let after = self.policy.load_timeout;
        // The call itself may panic too, so it runs inside. What it leaves behind is its own: the
        // cache shares no state with it.
        let load = AssertUnwindSafe(async { loader().await }).catch_unwind();
        let result = match tokio::time::timeout(after, load).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(LoadError::Failed(Arc::from(error.into()))),
            Ok(Err(_panic)) => Err(LoadError::Panicked),
            Err(_elapsed) => Err(LoadError::TimedOut { after }),
        };
        let outcome = match &result {
            Ok(Some(_)) => Outcome::Hit,
            Ok(None) => Outcome::Miss,
            Err(_) => Outcome::Error,
        };
        self.meter.load(outcome, started.elapsed());
        result
    }
}

// === impl Inner: writing ===

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    fn publish(&self, key: &K, hash: u64, token: u64, value: &Arc<V>, ttl: Duration) -> bool {
        let keep = || self.memory.insert(key.clone(), Arc::clone(value), ttl);
        let kept = self.floors.publish(hash, token, keep);
        if kept {
            self.meter.entries(self.memory.len());
        } else {
            self.meter.unpublished.add();
        }
        kept
    }

    async fn invalidate(&self, key: &K) {
        let (hash, entry) = self.entry(key);
        let target = Target::Key {
            hash,
            entry: entry.as_ref(),
        };
        let tickets = self.announce(target);
        let version = self.floors.raise(hash, || self.memory.remove(key));
        self.record(target, version);
        self.meter.entries(self.memory.len());
        // CANCEL: from here on only Redis is left, and its tier has noted the removal already.
        self.settle(target, &tickets).await;
    }

    /// Writes a fill (no tickets) or an insertion to the tiers below.
    async fn write_below(
        &self,
        entry: &EntryKey,
        body: &Body,
        version: u64,
        ttl: Duration,
        tickets: Option<&[u64]>,
    ) {
        let Some(lower) = &self.lower else { return };
        let expires_ms = self.clock.unix_ms() + ttl.as_millis() as u64;
        let bytes = lower.codec.seal(body, &entry.text, version, expires_ms);
        for (at, tier) in lower.tiers.iter().enumerate() {
            if !self.floors.allows(entry.hash, version) {
                break;
            }
            let ticket = tickets.and_then(|tickets| tickets.get(at).copied());
            let written = tier.write(entry, bytes.clone(), ttl, ticket).await;
            // An invalidation whose own deletion came before this write: delete once more. Until
            // then its version keeps it from being served here.
            if written && tier.shared() && !self.floors.allows(entry.hash, version) {
                let target = Target::Key {
                    hash: entry.hash,
                    entry: Some(entry),
                };
                let ticket = tier.announce(target);
                tier.settle(target, ticket).await;
            }
        }
    }

    fn announce(&self, target: Target<'_>) -> Vec<u64> {
        self.tiers()
            .iter()
            .map(|tier| tier.announce(target))
            .collect()
    }

    fn record(&self, target: Target<'_>, version: u64) {
        self.tiers()
            .iter()
            .for_each(|tier| tier.record(target, version));
    }

    async fn settle(&self, target: Target<'_>, tickets: &[u64]) {
        for (tier, ticket) in self.tiers().iter().zip(tickets) {
            tier.settle(target, *ticket).await;
        }
    }

    fn tiers(&self) -> &[Arc<dyn Tier>] {
        self.lower.as_ref().map_or(&[], |lower| &lower.tiers)
    }

    /// The bytes of the value; `None` where no tier wants them. `Err` when it must not be kept.
    fn encode(&self, value: &V) -> Result<Option<Body>, ()> {
        let Some(lower) = &self.lower else {
            return Ok(None);
        };
        lower.codec.encode(value).map(Some).map_err(|reason| {
            self.meter.unkept.add();
            tracing::debug!(cache = &*self.name, ?reason, "value not kept");
        })
    }

    fn entry(&self, key: &K) -> (u64, Option<EntryKey>) {
        let hash = key_hash(key, self.seed);
        let entry = self
            .lower
            .as_ref()
            .and_then(|_| self.entry_below(key, hash));
        (hash, entry)
    }

    fn entry_below(&self, key: &K, hash: u64) -> Option<EntryKey> {
        self.lower.as_ref()?;
        let text = key_text(key)?;
        Some(EntryKey {
            cache: Arc::clone(&self.name),
            hash,
            text,
        })
    }

    /// The policy's TTL less up to 5 %, by key and time.
    fn ttl(&self, hash: u64) -> Duration {
        let random = (hash::mix(hash ^ self.clock.unix_ms()) >> 32) as f64 / f64::from(u32::MAX);
        self.policy.ttl.mul_f64(1.0 - JITTER * random)
    }
}

impl<K, V> Clone for TieredCache<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K, V> fmt::Debug for TieredCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredCache")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

/// Names go into Redis keys, glob patterns and metric labels.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(usable) {
        return Ok(());
    }
    Err(ConfigError::Name {
        field,
        value: name.chars().take(80).collect(),
    })
}

/// Floors for the last thousand keys at least: far more than change during one load; 20 KiB.
const MEMORY_STRIPES: usize = 256;
/// Enough to spread a burst of loads, little enough not to be noticed in hit rates.
const JITTER: f64 = 0.05;
