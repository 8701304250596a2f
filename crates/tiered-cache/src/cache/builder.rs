//! `CacheBuilder`: the settings of one cache, and how it is put together.

use std::{
    fmt::{self, Display},
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Groups, Inner, LoadContext, Lower, TieredCache, check_name,
    context::answer_of,
    fly,
    tell::text_of,
    watch::{Watch, WatchPlan},
};
use crate::{
    cached::TierSet,
    caches::{Caches, Common, Registered, tend},
    codec::{Codec, Envelope, Format, Identity},
    error::{BoxError, ConfigError, LoadError},
    events::CacheEvent,
    flight::{Bulkhead, Flights},
    hash,
    key::CacheKey,
    memory::{Memory, Weigh},
    policy::{Capacity, ErrorAction, Loaded, OnError, Policy},
    stats::Meter,
};

/// Collects the settings of a [`TieredCache`]; nothing is checked or made before a `build` call.
#[must_use = "nothing happens before `build`"]
pub struct CacheBuilder<K, V> {
    name: String,
    policy: Policy,
    weigh: Option<Weigh<K, V>>,
    tiers: TierSet,
    format: Format,
    groups: Groups<K>,
    loader: Option<super::Loader<K, V>>,
    on_error: Option<OnError>,
    pub(super) watch: WatchPlan<K, V>,
}

impl<K: CacheKey, V: Send + Sync + 'static> CacheBuilder<K, V> {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            policy: Policy::default(),
            weigh: None,
            tiers: TierSet::ALL,
            format: Format::default(),
            groups: Groups {
                cache: 0,
                delimiter: None,
                patterns: Vec::new(),
            },
            loader: None,
            on_error: None,
            watch: WatchPlan::new(),
        }
    }

    /// How values are kept, refreshed and loaded. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How much the memory tier holds; short for the policy's field.
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.policy.capacity = capacity;
        self
    }

    /// How many bytes a key and value own on the heap. With [`Capacity::Bytes`] and no weigher, the
    /// length of the encoding is taken, or for what goes to no tier below the size of `V` itself.
    pub fn weigh(mut self, weigh: impl Fn(&K, &V) -> usize + Send + Sync + 'static) -> Self {
        self.weigh = Some(Arc::new(weigh));
        self
    }

    /// Which tiers the cache uses. Default: all that its [`Caches`] have.
    pub fn tiers(mut self, tiers: TierSet) -> Self {
        self.tiers = tiers;
        self
    }

    /// How values are encoded for the tiers below memory. Default: [`Format::Postcard`].
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Makes the prefixes of keys' texts that end with `delimiter` known, so that
    /// [`TieredCache::invalidate_prefix`] costs the same however many keys it covers.
    pub fn prefixes(mut self, delimiter: char) -> Self {
        self.groups.delimiter = Some(delimiter);
        self
    }

    /// Puts keys into groups for [`TieredCache::invalidate_pattern`]; `None` is no group.
    pub fn pattern<G: Display>(
        mut self,
        name: impl Into<String>,
        group_of: impl Fn(&K) -> Option<G> + Send + Sync + 'static,
    ) -> Self {
        let group_of = move |key: &K| group_of(key).map(|group| group.to_string());
        let name = name.into().into_boxed_str();
        self.groups.patterns.push((name, Arc::new(group_of)));
        self
    }

    /// Registers a loader, for [`TieredCache::fetch`], for warming, and for refreshing what
    /// [`TieredCache::get`] finds past its time.
    pub fn loader<F, Fut, R, E>(mut self, loader: F) -> Self
    where
        F: Fn(K, LoadContext<K, V>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<V>> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.loader = Some(Arc::new(move |key, context| {
            answer_of(loader(key, context))
        }));
        self
    }

    /// What failed loads do, by class of error; see [`ErrorAction`].
    pub fn on_error(
        mut self,
        on_error: impl Fn(&LoadError) -> ErrorAction + Send + Sync + 'static,
    ) -> Self {
        self.on_error = Some(Arc::new(on_error));
        self
    }

    /// A cache over memory and the tiers of `caches`. Its name is part of its keys, so give a cache
    /// that is to find its entries again the same name.
    ///
    /// # Errors
    /// [`ConfigError`]: the name or policy cannot work, or the name was given out before (it stays
    /// taken for as long as `caches` live).
    pub fn build(self, caches: &Caches) -> Result<TieredCache<K, V>, ConfigError>
    where
        V: Serialize + DeserializeOwned,
    {
        let codec: Arc<dyn Codec<V>> = Arc::new(self.format);
        self.build_on(caches, codec)
    }

    /// As [`build`](Self::build), with an encoding of your own.
    ///
    /// # Errors
    /// As there.
    pub fn build_with(
        self,
        caches: &Caches,
        codec: impl Codec<V>,
    ) -> Result<TieredCache<K, V>, ConfigError> {
        self.build_on(caches, Arc::new(codec))
    }

    /// A cache in memory alone, which needs no [`Caches`] and no serde. Its tags are its own.
    ///
    /// Expired values are swept out by a task of the runtime it is made in; made outside of one, they
    /// leave when they are read or pushed out.
    ///
    /// # Errors
    /// [`ConfigError`]: the name or policy cannot work.
    pub fn build_in_memory(self) -> Result<TieredCache<K, V>, ConfigError> {
        self.check()?;
        let id = hash::text_hash(&self.name);
        let inner = self.assemble(id, Common::alone(), None, None);
        inner.begin_warm_sets();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let cache: Weak<Inner<K, V>> = Arc::downgrade(&inner);
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(TEND_EACH).await;
                    let Some(cache) = cache.upgrade() else { return };
                    tend(&*cache);
                }
            });
        }
        Ok(TieredCache { inner })
    }

    fn build_on(
        self,
        caches: &Caches,
        codec: Arc<dyn Codec<V>>,
    ) -> Result<TieredCache<K, V>, ConfigError> {
        self.check()?;
        let claim = caches.claim(&self.name)?;
        let id = hash::text_hash(&format!("{}:{}", caches.namespace(), self.name));
        let tiers = caches.tiers().iter();
        let tiers: Arc<[_]> = tiers
            .filter(|tier| self.tiers.contains(tier.kind()))
            .map(Arc::clone)
            .collect();
        let packs = self.policy.pack_above.is_some();
        let lower = (packs || !tiers.is_empty()).then(|| {
            let identity = Identity {
                namespace: caches.namespace(),
                cache: &self.name,
                epoch: caches.epoch(),
                schema: self.policy.schema,
            };
            Lower {
                tiers,
                envelope: Envelope::new::<K>(codec, &identity, &self.policy),
            }
        });
        let inner = self.assemble(id, caches.common().clone(), lower, Some(caches.clone()));
        let registered: Arc<dyn Registered> = Arc::clone(&inner) as _;
        claim.register(&registered);
        inner.begin_warm_sets();
        Ok(TieredCache { inner })
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_name("cache name", &self.name)?;
        self.watch.validate(self.loader.is_some())?;
        self.policy.validate()
    }

    fn assemble(
        self,
        id: u64,
        common: Common,
        lower: Option<Lower<V>>,
        caches: Option<Caches>,
    ) -> Arc<Inner<K, V>> {
        let policy = self.policy;
        let name: Arc<str> = self.name.into();
        common.events.name(id, &name);
        let on_evict = {
            let (events, cache) = (common.events.clone(), Arc::clone(&name));
            Arc::new(move |key: &K| {
                events.tell(|| CacheEvent::Evicted {
                    cache: Arc::clone(&cache),
                    key: text_of(key),
                });
            })
        };
        let watch = Watch::new(self.watch, &policy, &common.tasks, self.loader.is_some());
        Arc::new(Inner {
            id,
            memory: Memory::watched(policy.capacity, self.weigh, common.seed, Some(on_evict)),
            flights: Arc::new(Flights::new(FLIGHT_SHARDS)),
            bulkhead: Bulkhead::new(policy.loads_max),
            floor: common.floors.of_cache(id),
            floors: Arc::clone(&common.floors),
            ledger: Arc::clone(&common.ledger),
            clock: common.clock.clone(),
            common,
            lower,
            meter: Meter::new(&name),
            name,
            groups: Groups {
                cache: id,
                ..self.groups
            },
            loader: self.loader,
            on_error: self.on_error,
            tiers: self.tiers,
            plain: policy.idle_ttl.is_none() && policy.early_refresh.is_none(),
            failed: fly::Failed::new(),
            watch,
            _caches: caches,
            policy,
        })
    }
}

impl<K, V> fmt::Debug for CacheBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("name", &self.name)
            .field("policy", &self.policy)
            .field("tiers", &self.tiers)
            .field("groups", &self.groups)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

/// Enough that tasks of all threads seldom wait for one another.
const FLIGHT_SHARDS: usize = 16;
const TEND_EACH: Duration = Duration::from_secs(1);
