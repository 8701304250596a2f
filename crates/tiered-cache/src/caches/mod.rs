//! `Caches`: the parts that several caches share: tiers, ledger, clock, memory budget.

mod builder;
mod common;
mod gauges;
mod housekeeping;
mod parts;
mod registry;
mod settings;
mod warming;

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cache::TieredCache,
    coherence::{Change, Effect, Invalidations},
    error::ConfigError,
    events::CacheEvents,
    guard::Guard,
    key::CacheKey,
    policy::Policy,
    stats::CacheStats,
    status::{CachesStatus, LogState, TierBreaker},
    tag::Tag,
    tier::CLOSE_WITHIN,
};

pub use builder::CachesBuilder;
pub(crate) use common::Common;
use registry::{Claim, Registry};
pub(crate) use registry::{Registered, tend};
pub use settings::CoherenceConfig;

/// What the simulation puts in place of the servers, the disk and the machine's clock and chance.
#[cfg(test)]
pub(crate) struct Simulated {
    pub(crate) tiers: Vec<Arc<dyn crate::tier::Tier>>,
    pub(crate) log: Option<Arc<dyn crate::coherence::Log>>,
    /// The folder of the local log.
    pub(crate) folder: Option<std::path::PathBuf>,
    pub(crate) chance: crate::chance::Chance,
    pub(crate) unix_ms: u64,
    pub(crate) instance: u64,
}

/// The Redis connection, disk folder, invalidation log and memory budget that several caches share; a
/// cheap clone of a handle.
#[derive(Clone)]
pub struct Caches {
    shared: Arc<Shared>,
}

struct Shared {
    namespace: String,
    epoch: u64,
    common: Common,
    tiers: Arc<[Arc<Guard>]>,
    registry: Registry,
    warmth: warming::Warmth,
    parts: parts::Parts,
}

impl Caches {
    /// Starts with namespace `"default"`, epoch 0, and no tier but memory.
    pub fn builder() -> CachesBuilder {
        CachesBuilder::new()
    }

    /// A cache over memory and the shared tiers; short for [`TieredCache::builder`] with a policy and
    /// [`CacheBuilder::build`](crate::CacheBuilder::build).
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
        TieredCache::builder(name).policy(policy).build(self)
    }

    /// Invalidates every entry that carries the tag, in all caches of these `Caches`, in O(1).
    ///
    /// When it returns, no later read of this process sees such an entry (with [`Effect::Expire`]: sees
    /// it as fresh). Dropping the future is safe: what makes them unreachable here happens before the
    /// first wait, and other replicas are told in the background.
    pub async fn invalidate_tag(&self, tag: impl Into<Tag>, effect: Effect) {
        let tag: Tag = tag.into();
        let ledger = &self.shared.common.ledger;
        let ticket = ledger.announce(&[Change::tag(tag.hash, effect)]);
        self.shared.common.events.tell_tag(&tag, effect);
        ledger.settle(ticket).await;
    }

    /// Invalidations beside a transaction, several at once, and by event.
    pub fn invalidations(&self) -> Invalidations {
        Invalidations::new(Arc::clone(&self.shared.common.ledger))
    }

    /// Changes the bytes that the caches with [`Capacity::Bytes`](crate::Capacity::Bytes) share; what no
    /// longer fits is evicted before this returns.
    ///
    /// Each such cache gets what it asked for, or, when that is more than the budget in sum, its
    /// share of it.
    pub fn set_memory_budget(&self, bytes: u64) {
        self.shared.registry.set_budget(bytes);
    }

    /// The counts of every cache that is in use, by name.
    pub fn stats(&self) -> Vec<CacheStats> {
        let caches = self.shared.registry.caches();
        caches.iter().map(|cache| cache.stats()).collect()
    }

    /// What happens from now on in all caches of these `Caches`; see
    /// [`CacheEvent`](crate::CacheEvent). It costs nothing while nobody listens.
    pub fn events(&self) -> CacheEvents {
        self.shared.common.events.listen()
    }

    /// The state of the shared parts now.
    pub fn status(&self) -> CachesStatus {
        let mut status = self.shared.parts.status(&self.shared.common);
        if let Some(log) = self.shared.common.ledger.log_status() {
            status.log_gaps = log.gaps;
            status.log = match log.silent_for {
                Some(lasted) => LogState::Silent { lasted },
                None if log.ready => LogState::Ok,
                None => LogState::Behind,
            };
        }
        let tiers = self.shared.tiers.iter();
        status.breakers = tiers
            .map(|tier| TierBreaker {
                tier: tier.kind(),
                state: tier.state(),
            })
            .collect();
        status
    }

    /// Writes the manifest of hot keys, lets running loads end, tells Redis what it was not told yet,
    /// flushes the tiers and leaves Redis; at most 5 s for each. What the disk tier has not written by
    /// then is given up, and its folder is free for the next one. Afterwards the caches go on with
    /// memory alone. With Redis, removals no longer reach it, and what others remove is not heard of: a
    /// value is served for `CoherenceConfig::degraded_ttl` at most, as in a silence of the log.
    ///
    /// Dropping the future leaves the rest to the next start, which loses speed but nothing else.
    pub async fn close(&self) {
        let caches = self.shared.registry.caches();
        if tokio::time::timeout(CLOSE_WITHIN, self.shared.warmth.write(caches))
            .await
            .is_err()
        {
            tracing::warn!("manifest of hot keys not written in time");
        }
        let tasks = &self.shared.common.tasks;
        tasks.close();
        if tokio::time::timeout(CLOSE_WITHIN, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = tasks.len(), "loads still running at close");
        }
        self.shared.common.ledger.close(CLOSE_WITHIN).await;
        for tier in &*self.shared.tiers {
            if tokio::time::timeout(CLOSE_WITHIN, tier.close())
                .await
                .is_err()
            {
                tracing::warn!(tier = tier.kind().as_str(), "tier not closed in time");
            }
        }
        self.shared.parts.close(CLOSE_WITHIN).await;
        self.shared.common.ledger.release();
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    pub(crate) fn common(&self) -> &Common {
        &self.shared.common
    }

    pub(crate) fn tiers(&self) -> &[Arc<Guard>] {
        &self.shared.tiers
    }

    /// Takes the name for a cache that is about to be made.
    pub(crate) fn claim(&self, name: &str) -> Result<Claim<'_>, ConfigError> {
        self.shared.registry.claim(name)
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tiers = self.shared.tiers.iter();
        let kinds: Vec<_> = tiers.map(|tier| tier.kind()).collect();
        f.debug_struct("Caches")
            .field("namespace", &self.shared.namespace)
            .field("epoch", &self.shared.epoch)
            .field("tiers", &kinds)
            .finish_non_exhaustive()
    }
}
