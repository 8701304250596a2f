//! `Caches`: the parts that several caches share, and how they are built and closed.

use std::{
    any::type_name,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio_util::task::TaskTracker;

#[cfg(feature = "disk")]
use crate::disk::DiskTier;
#[cfg(feature = "redis")]
use crate::redis::RedisTier;
use crate::{
    cache::{Inner, Lower, TieredCache, check_name},
    clock::Clock,
    envelope::Codec,
    error::{BuildError, ConfigError},
    hash,
    key::CacheKey,
    old_flight::Flights,
    old_floors::Floors,
    old_memory::Memory,
    old_tier::Tier,
    policy::Policy,
    stats::Meter,
    status::CachesStatus,
};

/// The Redis connection, disk folder and invalidation log that several caches share; a cheap clone
/// of a handle.
#[derive(Clone)]
pub struct Caches {
    shared: Arc<Shared>,
}

struct Shared {
    namespace: String,
    epoch: u64,
    origin: u64,
    floors: Arc<Floors>,
    tiers: Arc<[Arc<dyn Tier>]>,
    names: Mutex<HashSet<String>>,
    tasks: TaskTracker,
    clock: Clock,
}

/// Collects the settings of [`Caches`]; nothing is opened before [`build`](Self::build).
#[derive(Debug)]
#[must_use = "nothing happens before `build`"]
pub struct CachesBuilder {
    namespace: String,
    epoch: u64,
    #[cfg(feature = "redis")]
    redis: Option<crate::RedisConfig>,
    #[cfg(feature = "disk")]
    disk: Option<crate::DiskConfig>,
}

impl Caches {
    /// Starts with namespace `"default"`, epoch 0, no Redis and no disk.
    pub fn builder() -> CachesBuilder {
        CachesBuilder {
            namespace: "default".to_owned(),
            epoch: 0,
            #[cfg(feature = "redis")]
            redis: None,
            #[cfg(feature = "disk")]
            disk: None,
        }
    }

    /// A cache over memory and the shared tiers. Its name is part of its keys, so give a cache
    /// that is to find its entries again the same name.
    ///
    /// `V` is encoded with postcard: no type that needs to see its own format while it decodes
    /// (`serde_json::Value`, `#[serde(untagged)]`, `#[serde(flatten)]`, `skip_serializing_if`).
    ///
    /// # Errors
    /// [`ConfigError`]: the name or policy cannot work, or the name was given out before (it stays
    /// taken for as long as these `Caches` live).
    pub fn cache<K, V>(&self, name: &str, policy: Policy) -> Result<TieredCache<K, V>, ConfigError>
    where
        K: CacheKey,
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        check_name("cache name", name)?;
        policy.validate()?;
        let shared = &*self.shared;
        let mut names = shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.insert(name.to_owned()) {
            return Err(ConfigError::Duplicate {
                name: name.to_owned(),
            });
        }
        let seed = hash::text_hash(&format!("{}:{name}", shared.namespace));
        let lower = (!shared.tiers.is_empty()).then(|| Lower {
            tiers: Arc::clone(&shared.tiers),
            codec: Codec::new(
                fingerprint::<K, V>(&shared.namespace, name, policy.schema),
                shared.epoch,
                shared.origin,
                &policy,
            ),
        });
        Ok(TieredCache::assemble(Inner {
            name: name.into(),
            seed,
            memory: Memory::new(match policy.capacity {
                crate::policy::Capacity::Entries(count) => count,
                crate::policy::Capacity::Bytes(_) => 10_000,
            }),
            flights: Arc::new(Flights::new()),
            floors: shared.floors.of_cache(seed),
            lower,
            clock: shared.clock.clone(),
            tasks: shared.tasks.clone(),
            meter: Meter::new(name),
            policy,
        }))
    }

    /// The state of Redis and disk now.
    pub fn status(&self) -> CachesStatus {
        let mut status = CachesStatus::default();
        self.shared
            .tiers
            .iter()
            .for_each(|tier| tier.status(&mut status));
        status
    }

    /// Lets running loads end, flushes the disk tier and leaves Redis; at most 5 s for each of the
    /// three. Afterwards the caches go on with memory alone, and removals no longer reach Redis.
    ///
    /// Dropping the future leaves the rest to the next start, which loses speed but nothing else.
    pub async fn close(&self) {
        self.shared.tasks.close();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.shared.tasks.len(),
                "loads still running at close"
            );
        }
        for tier in &*self.shared.tiers {
            if tokio::time::timeout(CLOSE_TIMEOUT, tier.close())
                .await
                .is_err()
            {
                tracing::warn!(tier = tier.kind().as_str(), "tier not closed in time");
            }
        }
    }
}

impl CachesBuilder {
    /// The prefix of all Redis keys and part of the identity of all entries; services that share a
    /// Redis must differ in it.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Entries filled under another epoch are misses. Raise it when data changed behind the
    /// cache's back, such as by an import.
    pub fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Adds the Redis tier.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, config: crate::RedisConfig) -> Self {
        self.redis = Some(config);
        self
    }

    /// Adds the disk tier.
    #[cfg(feature = "disk")]
    pub fn disk(mut self, config: crate::DiskConfig) -> Self {
        self.disk = Some(config);
        self
    }

    /// Opens the disk folder and begins to connect to Redis.
    ///
    /// An absent Redis is no error: after `RedisConfig::connect_grace` the caches start without it
    /// and it joins when it can be reached. Dropping the future gives everything back.
    ///
    /// # Errors
    /// [`BuildError`]: a setting that can never work, or a disk folder that cannot be used.
    pub async fn build(self) -> Result<Caches, BuildError> {
        check_name("namespace", &self.namespace)?;
        let floors = Arc::new(Floors::new(SHARED_STRIPES));
        let tasks = TaskTracker::new();
        let clock = Clock::start(crate::clock::PRECISION);
        #[cfg_attr(
            not(any(feature = "redis", feature = "disk")),
            expect(unused_mut, reason = "there is no tier to add")
        )]
        let mut tiers: Vec<Arc<dyn Tier>> = Vec::new();
        // The name under which this process writes to the tiers.
        let origin = hash::unique();
        // The disk first: it can fail, and it knows the name under which its folder was written.
        #[cfg(feature = "disk")]
        let origin = match &self.disk {
            Some(config) => {
                let disk = DiskTier::open(config, &self.namespace, &floors).await?;
                let origin = disk.origin();
                tiers.push(disk);
                origin
            }
            None => origin,
        };
        #[cfg(feature = "redis")]
        if let Some(config) = &self.redis {
            // Asked before the disk.
            tiers.insert(
                0,
                RedisTier::open(config, &self.namespace, self.epoch).await?,
            );
        }
        Ok(Caches {
            shared: Arc::new(Shared {
                namespace: self.namespace,
                epoch: self.epoch,
                origin,
                floors,
                tiers: tiers.into(),
                names: Mutex::default(),
                tasks,
                clock,
            }),
        })
    }
}

/// What must agree for bytes to be a value of this cache.
fn fingerprint<K, V>(namespace: &str, name: &str, schema: u32) -> u64 {
    let (key, value) = (type_name::<K>(), type_name::<V>());
    hash::text_hash(&format!("{namespace}\n{name}\n{key}\n{value}\n{schema}"))
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caches")
            .field("namespace", &self.shared.namespace)
            .field("epoch", &self.shared.epoch)
            .field("tiers", &self.shared.tiers)
            .finish_non_exhaustive()
    }
}

/// Floors for the last 65,536 keys or so; 1.3 MiB, and at most 5 MiB of log.
const SHARED_STRIPES: usize = 16_384;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
