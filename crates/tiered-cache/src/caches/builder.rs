//! `CachesBuilder`: what the caches share, and how it is opened.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    Caches, CoherenceConfig, Common, Shared,
    gauges::Gauges,
    housekeeping::keep_house,
    parts::{Names, Parts, Wanted},
    registry::Registry,
    warming::{Warmth, keep_manifest},
};
use crate::{
    cache::check_name,
    chance::Chance,
    clock::{Clock, PRECISION},
    coherence::{Floors, Ledger, LedgerConfig},
    error::{BuildError, ConfigError},
    events::Events,
    guard::{BreakerConfig, Guard, GuardConfig},
    tier::Tier,
};

/// Collects the settings of [`Caches`]; nothing is opened before [`build`](Self::build).
#[must_use = "nothing happens before `build`"]
pub struct CachesBuilder {
    namespace: String,
    epoch: u64,
    clock_precision: Duration,
    memory_budget: Option<u64>,
    breaker: BreakerConfig,
    coherence: CoherenceConfig,
    wanted: Wanted,
    manifest: Option<PathBuf>,
}

impl CachesBuilder {
    pub(super) fn new() -> Self {
        Self {
            namespace: "default".to_owned(),
            epoch: 0,
            clock_precision: PRECISION,
            memory_budget: None,
            breaker: BreakerConfig::default(),
            coherence: CoherenceConfig::default(),
            wanted: Wanted::default(),
            manifest: None,
        }
    }

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

    /// How far the clock may lag that hits read. Zero reads tokio's clock each time, which costs a hit
    /// about as much again; at most 1 s. Default: 10 ms.
    pub fn clock_precision(mut self, precision: Duration) -> Self {
        self.clock_precision = precision;
        self
    }

    /// The bytes that all caches with [`Capacity::Bytes`](crate::Capacity::Bytes) share; see
    /// [`Caches::set_memory_budget`]. Default: each has what it asks for.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// When a tier below memory that fails is left alone, and when it is tried again.
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.breaker = config;
        self
    }

    /// What a silent log or a crash beside a transaction may cost.
    pub fn coherence(mut self, config: CoherenceConfig) -> Self {
        self.coherence = config;
        self
    }

    /// Adds a tier of your own, asked after Redis and before the disk. One of
    /// [`TierScope::Shared`](crate::TierScope::Shared) is used only beside Redis, whose log gives its
    /// entries their versions.
    pub fn tier(mut self, tier: Arc<dyn Tier>) -> Self {
        self.wanted.others.push(tier);
        self
    }

    /// Adds the Redis tier, and the log by which replicas tell one another of invalidations.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, config: crate::RedisConfig) -> Self {
        self.wanted.redis = Some(config);
        self
    }

    /// Adds the disk tier, and the log by which invalidations outlive this process.
    #[cfg(feature = "disk")]
    pub fn disk(mut self, config: crate::DiskConfig) -> Self {
        self.wanted.disk = Some(config);
        self
    }

    /// Where the hottest keys of caches with [`hot_keys`](crate::CacheBuilder::hot_keys) are
    /// written down for the next process; each process needs a file of its own. Default: a file in the
    /// disk folder, or none without one.
    pub fn manifest(mut self, path: impl Into<PathBuf>) -> Self {
        self.manifest = Some(path.into());
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
        check_precision(self.clock_precision)?;
        let chance = Chance::from_system();
        let base = Base {
            floors: Arc::new(Floors::new(self.stripes())),
            clock: Clock::start(self.clock_precision),
            instance: chance.draw(),
            chance: Arc::new(chance),
            seed: None,
            stand_ins: None,
        };
        self.build_on(base).await
    }

    /// How many stripes the table of floors has: enough for one floor for each entry of the disk tier, up
    /// to some 30 MB. Where it remembers fewer keys than the disk holds, insertions make older entries of
    /// the disk unservable.
    fn stripes(&self) -> usize {
        #[cfg(feature = "disk")]
        if let Some(disk) = &self.wanted.disk {
            // Entries take 4 KiB there, and a stripe remembers four floors.
            let wanted = usize::try_from(disk.capacity_bytes / (16 << 10));
            return wanted.unwrap_or(STRIPES_MAX).clamp(STRIPES, STRIPES_MAX);
        }
        STRIPES
    }

    /// Caches over stand-ins, in which nothing depends on the machine: the simulation's.
    #[cfg(test)]
    pub(crate) async fn build_simulated(
        self,
        simulated: super::Simulated,
    ) -> Result<Caches, BuildError> {
        let floors = Arc::new(Floors::new(SIMULATED_STRIPES));
        let chance = Arc::new(simulated.chance);
        let local = simulated.folder.as_deref().map(|folder| {
            crate::coherence::LocalLog::open(folder, &self.namespace, &floors, &chance)
        });
        let local = local.transpose()?.map(Arc::new);
        let parts = Parts::of_stand_ins(simulated.tiers, simulated.log, local);
        let base = Base {
            floors,
            clock: Clock::start_at(simulated.unix_ms, Duration::ZERO),
            instance: simulated.instance,
            seed: Some(chance.draw()),
            chance,
            stand_ins: Some(parts),
        };
        self.build_on(base).await
    }

    async fn build_on(self, base: Base) -> Result<Caches, BuildError> {
        check_name("namespace", &self.namespace)?;
        self.coherence.validate()?;
        self.breaker.validate()?;
        let Base {
            floors,
            chance,
            clock,
            instance,
            seed,
            stand_ins,
        } = base;
        let names = Names {
            namespace: &self.namespace,
            epoch: self.epoch,
            instance,
        };
        let manifest = self.manifest.or_else(|| self.wanted.manifest());
        let settings = self.wanted.ledger();
        let mut parts = match stand_ins {
            Some(parts) => parts,
            None => self.wanted.open(&names, &floors, &chance).await?,
        };
        // The folder is this process's own by now.
        let warmth = Warmth::open(manifest).await;
        let events = Events::new();
        let config = LedgerConfig {
            instance: names.instance,
            unix_ms: clock.exact_ms(),
            silent_after: self.coherence.silent_after,
            degraded_ttl: self.coherence.degraded_ttl,
            intent_timeout: self.coherence.intent_timeout,
            events: events.clone(),
            ..settings
        };
        let ledger = Ledger::new(
            Arc::clone(&floors),
            parts.log.take(),
            &parts.tiers,
            parts.local.take(),
            config,
            Arc::clone(&chance),
        );
        tokio::spawn(Ledger::run(Arc::downgrade(&ledger)));
        parts.log_is_read(&ledger).await;
        parts.track(&ledger);
        let guarded = |tier: &Arc<dyn Tier>| {
            let own = Chance::seeded(chance.draw());
            let config = GuardConfig {
                deadline: parts.deadline(tier.kind()),
                breaker: self.breaker.clone(),
            };
            Arc::new(Guard::new(Arc::clone(tier), config, own))
        };
        let tiers = parts.tiers.iter().map(guarded).collect();
        let origin = match ledger.origin_local() {
            // Without a folder nothing of before can be told from what others left.
            0 => chance.draw(),
            origin => origin,
        };
        let shared = Arc::new(Shared {
            namespace: self.namespace,
            epoch: self.epoch,
            common: Common {
                floors,
                ledger,
                clock,
                chance,
                origin,
                tasks: TaskTracker::new(),
                events,
                leases: parts.leases(),
                seed,
            },
            tiers,
            registry: Registry::new(self.memory_budget),
            warmth,
            parts,
        });
        let gauges = Gauges::new(&shared.tiers, shared.parts.disk_tiers() > 0);
        tokio::spawn(keep_house(Arc::downgrade(&shared), gauges));
        if shared.warmth.writes() {
            tokio::spawn(keep_manifest(Arc::downgrade(&shared)));
        }
        Ok(Caches { shared })
    }
}

/// A clock that ticks no more than that would let values outlive their times.
fn check_precision(precision: Duration) -> Result<(), ConfigError> {
    if precision <= PRECISION_MAX {
        return Ok(());
    }
    Err(ConfigError::Value {
        field: "clock_precision",
        value: format!("{precision:?}"),
        expected: "use at most 1 s",
    })
}

/// What there is before anything is opened.
struct Base {
    floors: Arc<Floors>,
    chance: Arc<Chance>,
    clock: Clock,
    /// Under which name this process writes to the log.
    instance: u64,
    /// Where entries are placed in memory.
    seed: Option<u64>,
    /// In place of what would be opened.
    stand_ins: Option<Parts>,
}

impl fmt::Debug for CachesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachesBuilder")
            .field("namespace", &self.namespace)
            .field("epoch", &self.epoch)
            .field("clock_precision", &self.clock_precision)
            .field("memory_budget", &self.memory_budget)
            .field("wanted", &self.wanted)
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

const PRECISION_MAX: Duration = Duration::from_secs(1);
/// Floors for the last 65,536 keys or so; about 5 MiB.
const STRIPES: usize = 16_384;
#[cfg(feature = "disk")]
const STRIPES_MAX: usize = 131_072;
/// Few enough that floors are forgotten into common ones.
#[cfg(test)]
const SIMULATED_STRIPES: usize = 8;
