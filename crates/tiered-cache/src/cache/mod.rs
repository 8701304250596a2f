//! `TieredCache`: one typed cache over its tiers.

mod batch;
mod below;
mod builder;
mod change;
mod context;
mod fly;
mod get;
mod groups;
mod hit;
mod lease;
mod load;
mod many;
mod publish;
mod request;
mod run;
mod tell;
mod warm;
mod watch;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use crate::{
    cached::TierSet,
    caches::{Caches, Common, Registered},
    clock::Clock,
    codec::Envelope,
    coherence::{CacheFloor, Floors, Ledger, Standing, Token},
    error::ConfigError,
    flight::{Bulkhead, Flights},
    guard::Guard,
    key::CacheKey,
    memory::{Memory, Meta},
    policy::{Capacity, OnError, Policy},
    stats::{CacheStats, Meter, Size},
    warm::Section,
};

pub use builder::CacheBuilder;
pub use context::LoadContext;
pub(crate) use context::{Load, Loader};
pub(crate) use groups::Groups;
#[cfg(feature = "redis")]
pub(crate) use lease::Leased;
pub(crate) use lease::Leases;
pub use request::EntryRequest;
pub(crate) use warm::WarmJob;

/// One typed cache over memory and, where configured, Redis, disk and other tiers; a cheap clone of a
/// handle.
///
/// Reads never fail for the sake of a tier: what a tier cannot answer is a miss. All async methods must
/// be called within a tokio runtime.
pub struct TieredCache<K, V> {
    pub(crate) inner: Arc<Inner<K, V>>,
}

/// All a cache consists of; background work holds it until it is done.
pub(crate) struct Inner<K, V> {
    pub(crate) name: Arc<str>,
    /// The hash of namespace and name: the cache in floors, and the seed of its keys' hashes.
    pub(crate) id: u64,
    pub(crate) policy: Policy,
    pub(crate) memory: Memory<K, V>,
    pub(crate) flights: Arc<Flights<K, V>>,
    pub(crate) bulkhead: Bulkhead,
    // Clones of what `common` holds too: a hit follows one pointer less.
    pub(crate) floors: Arc<Floors>,
    pub(crate) floor: Arc<CacheFloor>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Clock,
    pub(crate) common: Common,
    /// Below memory, in the order in which they are asked.
    pub(crate) lower: Option<Lower<V>>,
    pub(crate) meter: Meter,
    pub(crate) groups: Groups<K>,
    pub(crate) loader: Option<Loader<K, V>>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) tiers: TierSet,
    /// Whether a hit depends on nothing but the clock and the floors: no idle time, no early refresh.
    pub(crate) plain: bool,
    pub(crate) failed: fly::Failed<K>,
    pub(crate) watch: watch::Watch<K, V>,
    /// Held so that housekeeping and connections last as long as a cache that needs them.
    _caches: Option<Caches>,
}

/// The tiers below memory as one cache sees them.
pub(crate) struct Lower<V> {
    pub(crate) tiers: Arc<[Arc<Guard>]>,
    pub(crate) envelope: Envelope<V>,
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// A cache in memory alone, which needs no [`Caches`](crate::Caches) and no serde; short for
    /// [`builder`](Self::builder) with a policy and [`CacheBuilder::build_in_memory`].
    ///
    /// # Errors
    /// [`ConfigError`] for a name or policy that cannot work.
    pub fn memory(name: &str, policy: Policy) -> Result<Self, ConfigError> {
        Self::builder(name).policy(policy).build_in_memory()
    }

    /// Starts with the default [`Policy`], every tier, and no loader.
    pub fn builder(name: impl Into<String>) -> CacheBuilder<K, V> {
        CacheBuilder::new(name.into())
    }

    /// The counts since the cache was made.
    pub fn stats(&self) -> CacheStats {
        self.inner.stats()
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

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// How what began at `token` stands for the key and these tags.
    pub(crate) fn standing(&self, hash: u64, tags: &[u64], local: u64) -> Standing {
        self.floors.standing(&self.floor, hash, tags, local)
    }

    /// Whether who asks now may be given what a flight that began at `token` brings.
    pub(crate) fn may_join(&self, hash: u64, tags: &[u64], token: &Token) -> bool {
        self.floors.passes(&self.floor, hash, tags, token.local)
            || self.standing(hash, tags, token.local) == Standing::Valid
    }

    /// As [`standing`](Self::standing), for an entry that somebody holds; one that passes is armed again,
    /// so that the next reader needs one load per floor.
    pub(crate) fn standing_of(&self, meta: &Meta) -> Standing {
        // Taken before the check: every floor up to this number is seen by it.
        let checked = self.floors.token().local;
        let standing = self.standing(meta.key, &meta.tags, meta.local.load(Relaxed));
        if standing == Standing::Valid {
            meta.local.fetch_max(checked, Relaxed);
            meta.seen.fetch_max(checked, Relaxed);
        }
        standing
    }

    /// As [`standing_of`](Self::standing_of), for an entry that was found in memory just now: who has
    /// removed its key since it was put there would have taken it out.
    pub(crate) fn standing_in_memory(&self, meta: &Meta) -> Standing {
        if !meta.settled.load(Acquire) {
            return self.standing_of(meta);
        }
        let checked = self.floors.token().local;
        let standing = self.floors.standing_in_memory(
            &self.floor,
            meta.key,
            &meta.tags,
            meta.seen.load(Relaxed),
        );
        if standing == Standing::Valid {
            meta.seen.fetch_max(checked, Relaxed);
        }
        standing
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Registered for Inner<K, V> {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn stats(&self) -> CacheStats {
        self.meter.evictions.reach(self.memory.evicted());
        CacheStats {
            loading: self.flights.len(),
            loads_waiting: self.bulkhead.waiting(),
            oldest_load: self.flights.oldest(),
            ..self.meter.snapshot(&self.name, self.size())
        }
    }

    fn tend(&self) {
        // A minute for the whole of it; small tiers in one go.
        let slice = (self.memory.len() / 60).max(SLICE_MIN);
        let swept = self.memory.sweep(self.clock.exact_ms(), slice);
        self.meter.expirations.add_many(swept as u64);
        self.meter.evictions.reach(self.memory.evicted());
        self.meter.publish(self.size());
        self.tend_watch();
    }

    fn hot_section(&self) -> Option<Section> {
        self.hottest()
    }

    fn warm_job(
        self: Arc<Self>,
        section: Option<Section>,
        until: Instant,
    ) -> BoxFuture<'static, Option<WarmJob>> {
        self.plan_warming(section, until).boxed()
    }

    fn bytes_wanted(&self) -> Option<u64> {
        match self.policy.capacity {
            Capacity::Bytes(bytes) => Some(bytes),
            Capacity::Entries(_) => None,
        }
    }

    fn set_bytes(&self, bytes: u64) {
        self.memory.set_budget(Capacity::Bytes(bytes));
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    fn size(&self) -> Size {
        Size {
            entries: self.memory.len(),
            bytes: self.memory.bytes(),
        }
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

const SLICE_MIN: usize = 1_000;
