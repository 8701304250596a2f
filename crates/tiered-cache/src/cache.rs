//! `TieredCache`: one typed cache over its tiers.

mod read;
mod write;

use std::{fmt, future::Future, sync::Arc};

use tokio_util::task::TaskTracker;

use crate::{
    clock::Clock,
    envelope::Codec,
    error::{BoxError, ConfigError, LoadError},
    hash,
    key::{CacheKey, key_hash},
    old_flight::Flights,
    old_floors::{CacheFloors, Floors},
    old_lookup::{Lookup, TierKind},
    old_memory::Memory,
    old_tier::{Target, Tier},
    policy::Policy,
    stats::{CacheStats, Meter},
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
        policy.validate()?;
        let seed = hash::text_hash(name);
        Ok(Self::assemble(Inner {
            name: name.into(),
            seed,
            memory: Memory::new(match policy.capacity {
                crate::policy::Capacity::Entries(count) => count,
                crate::policy::Capacity::Bytes(_) => 10_000,
            }),
            flights: Arc::new(Flights::new()),
            floors: Arc::new(Floors::new(MEMORY_STRIPES)).of_cache(seed),
            lower: None,
            clock: Clock::start(crate::clock::PRECISION),
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
