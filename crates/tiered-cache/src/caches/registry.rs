//! The caches of one `Caches`, without their types: for housekeeping, statistics and the shared budget.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{cache::WarmJob, error::ConfigError, stats::CacheStats, warm::Section};

/// What all caches can be asked to do, whatever their types.
pub(crate) trait Registered: Send + Sync {
    fn name(&self) -> Arc<str>;

    fn stats(&self) -> CacheStats;

    /// A turn of housekeeping: sweeps a slice of expired entries, and passes the counts on.
    fn tend(&self);

    /// How many bytes it asked for; `None` when it counts entries.
    fn bytes_wanted(&self) -> Option<u64>;

    fn set_bytes(&self, bytes: u64);

    /// Its hottest keys for the manifest, if it keeps them.
    fn hot_section(&self) -> Option<Section>;

    /// What is to be warmed at the start: the keys of an earlier process's section, and its warm sets.
    /// Sets that have not named their keys by `until` are left out.
    fn warm_job(
        self: Arc<Self>,
        section: Option<Section>,
        until: Instant,
    ) -> BoxFuture<'static, Option<WarmJob>>;
}

/// A turn of housekeeping. When a key's or value's own code panics in it, the turn is over, and nothing
/// else.
pub(crate) fn tend(cache: &dyn Registered) {
    // The sweep begins anew after a panic; the rest is counts.
    if catch_unwind(AssertUnwindSafe(|| cache.tend())).is_err() {
        tracing::warn!(cache = &*cache.name(), "a panic while entries were swept");
    }
}

/// The names that were given out, and the caches behind them that still live.
pub(crate) struct Registry {
    state: Mutex<State>,
}

struct State {
    caches: BTreeMap<String, Option<Weak<dyn Registered>>>,
    /// Bytes that all byte-counting caches share; `None` gives each what it asks for.
    budget: Option<u64>,
}

/// A name that is taken; given back when no cache came of it.
pub(crate) struct Claim<'a> {
    registry: &'a Registry,
    name: String,
    kept: bool,
}

impl Registry {
    pub(crate) fn new(budget: Option<u64>) -> Self {
        Self {
            state: Mutex::new(State {
                caches: BTreeMap::new(),
                budget,
            }),
        }
    }

    pub(crate) fn claim(&self, name: &str) -> Result<Claim<'_>, ConfigError> {
        let mut state = self.lock();
        if state.caches.contains_key(name) {
            return Err(ConfigError::Duplicate {
                name: name.to_owned(),
            });
        }
        state.caches.insert(name.to_owned(), None);
        Ok(Claim {
            registry: self,
            name: name.to_owned(),
            kept: false,
        })
    }

    /// Those that still live, in the order of their names.
    pub(crate) fn caches(&self) -> Vec<Arc<dyn Registered>> {
        living(&self.lock())
    }

    pub(crate) fn set_budget(&self, bytes: u64) {
        let caches = {
            let mut state = self.lock();
            state.budget = Some(bytes);
            living(&state)
        };
        share(&caches, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    pub(crate) fn register(mut self, cache: &Arc<dyn Registered>) {
        self.kept = true;
        let (caches, budget) = {
            let mut state = self.registry.lock();
            let name = std::mem::take(&mut self.name);
            state.caches.insert(name, Some(Arc::downgrade(cache)));
            (living(&state), state.budget)
        };
        if let Some(budget) = budget {
            share(&caches, budget);
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.registry.lock().caches.remove(&self.name);
        }
    }
}

fn living(state: &State) -> Vec<Arc<dyn Registered>> {
    let caches = state.caches.values().flatten();
    caches.filter_map(Weak::upgrade).collect()
}

/// Gives each cache what it asked for, or all of them the same share of it when there is less.
fn share(caches: &[Arc<dyn Registered>], budget: u64) {
    let wanted: u64 = caches.iter().filter_map(|cache| cache.bytes_wanted()).sum();
    for cache in caches {
        if let Some(own) = cache.bytes_wanted() {
            let part = u128::from(own) * u128::from(budget) / u128::from(wanted.max(1));
            cache.set_bytes(own.min(u64::try_from(part).unwrap_or(u64::MAX)).max(1));
        }
    }
}
