//! A cache of our own over the tiers that were asked for, filled by nothing but the run, and removed without a trace.

use std::convert::Infallible;
use std::sync::Arc;

use tempfile::TempDir;
use tiered_cache::{
    BuildError, CacheStats, Caches, DiskConfig, Policy, RedisConfig, TierStats, TieredCache,
};

use super::{CacheConfig, CacheError};
use crate::ErrorClass;
use crate::mix::sampler::Sampler;
use crate::operations::Operations;

/// The cache, and what is asked of it.
pub(super) struct Tiers {
    caches: Caches,
    cache: TieredCache<u32, String>,
    keys: Sampler,
    /// What a loader finds for any key.
    value: Arc<str>,
    weights: [u32; 3],
    /// Removed when this is dropped.
    _folder: Option<TempDir>,
}

impl Tiers {
    pub(super) async fn build(config: &CacheConfig) -> Result<Self, CacheError> {
        let name = format!("loadgen-{:x}", fastrand::u64(..));
        let mut builder = Caches::builder().namespace(name);
        if let Some(url) = &config.redis {
            builder = builder.redis(RedisConfig {
                url: url.clone(),
                ..RedisConfig::default()
            });
        }
        let mut folder = None;
        if let Some(within) = &config.disk {
            let made = tempfile::Builder::new()
                .prefix("loadgen-")
                .tempdir_in(within);
            let made = folder.insert(made.map_err(CacheError::System)?);
            builder = builder.disk(DiskConfig {
                path: made.path().to_owned(),
                ..DiskConfig::default()
            });
        }
        let caches = builder.build().await?;
        let policy = Policy {
            capacity: tiered_cache::Capacity::Entries(config.memory_capacity),
            ..Policy::default()
        };
        let cache = caches.cache("values", policy).map_err(BuildError::from)?;
        // Not a text that repeats itself: compressing it would cost nothing like compressing a real one.
        let value: String = (0..config.value_bytes)
            .map(|_| fastrand::alphanumeric())
            .collect();
        Ok(Self {
            caches,
            cache,
            keys: Sampler::zipf(config.keys as usize, config.skew),
            value: value.into(),
            weights: [config.gets, config.loads, config.inserts],
            _folder: folder,
        })
    }

    /// How often each tier answered, warm-up included, and how they are.
    pub(super) fn notes(&self) -> Vec<String> {
        let stats = self.cache.stats();
        let mut notes = vec![hit_rates(&stats)];
        let status = self.caches.status();
        notes.push(status.to_string());
        notes
    }

    /// Takes back what was put into Redis, and closes all tiers.
    pub(super) async fn remove(&self) {
        self.cache.clear().await;
        self.caches.close().await;
    }
}

impl Operations for Tiers {
    const NAMES: [&'static str; 3] = super::OPERATIONS;

    fn weights(&self) -> [u32; 3] {
        self.weights
    }

    async fn carry_out(
        &self,
        operation: usize,
        random: &mut fastrand::Rng,
    ) -> Result<(), ErrorClass> {
        let key = self.keys.sample(random) as u32;
        let lookup = match operation {
            GET => self.cache.get(&key).await,
            GET_OR_LOAD => {
                let value = Arc::clone(&self.value);
                let load = async move || Ok::<_, Infallible>(Some(String::from(&*value)));
                let loaded = self.cache.get_or_load(&key, load).await;
                loaded.map_err(|error| match error.is_timeout() {
                    true => ErrorClass::Timeout,
                    false => ErrorClass::Closed,
                })?
            }
            _ => {
                self.cache.insert(&key, String::from(&*self.value)).await;
                return Ok(());
            }
        };
        match lookup.value() {
            Some(value) if value.len() != self.value.len() => Err(ErrorClass::Body),
            _ => Ok(()),
        }
    }
}

/// `memory 81.2 %, disk 10.0 %, loaded 8.8 % of 12345 reads`.
fn hit_rates(stats: &CacheStats) -> String {
    let reads = stats.memory.hits + stats.memory.misses + stats.memory.stale;
    let share = |hits: u64| 100.0 * hits as f64 / reads.max(1) as f64;
    let mut text = format!("memory {:.1} %", share(stats.memory.hits));
    for (name, tier) in [("redis", &stats.redis), ("disk", &stats.disk)] {
        if tier != &TierStats::default() {
            text.push_str(&format!(", {name} {:.1} %", share(tier.hits)));
        }
    }
    format!(
        "{text}, loaded {:.1} % of {reads} reads, warm-up included",
        share(stats.loads)
    )
}

const GET: usize = 0;
const GET_OR_LOAD: usize = 1;
