//! Warming one cache: given keys, what an earlier process used most, and sets that never go cold.

use std::{
    error::Error,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    CacheBuilder, Inner, TieredCache, below::Below, fly::Ask, hit::Seen, load::Wish, watch::Hot,
};
use crate::{
    cached::{Cached, Lookup},
    error::LoadError,
    key::{CacheKey, key_hash, key_text},
    policy::EntryOptions,
    warm::{Section, WarmOptions, WarmReport, WarmSchedule, Warmed, warm},
};

/// Keys that are to be warm from the start on, and how often they are loaded anew.
pub(crate) struct WarmSet<K> {
    schedule: WarmSchedule,
    keys: Arc<dyn Fn() -> BoxFuture<'static, Vec<K>> + Send + Sync>,
}

impl<K> Clone for WarmSet<K> {
    fn clone(&self) -> Self {
        Self {
            schedule: self.schedule.clone(),
            keys: Arc::clone(&self.keys),
        }
    }
}

impl<K> WarmSet<K> {
    /// The keys; none, and a warning, when they are not named in time, or by a panic.
    async fn named(&self, cache: &str, until: Instant) -> Vec<K> {
        // It shares no state with the cache.
        let naming = AssertUnwindSafe(async { (self.keys)().await }).catch_unwind();
        match timeout_at(until, naming).await {
            Ok(Ok(keys)) => return keys,
            Ok(Err(_panic)) => {
                tracing::warn!(cache, "a warm set panicked: nothing of it is warmed");
            }
            Err(_elapsed) => tracing::warn!(cache, "a warm set did not name its keys in time"),
        }
        Vec::new()
    }
}

/// What warming would do for one cache, without its types.
pub(crate) struct WarmJob {
    pub(crate) cache: Arc<str>,
    pub(crate) keys: usize,
    pub(crate) run: Box<dyn FnOnce(WarmOptions) -> BoxFuture<'static, WarmReport> + Send>,
}

impl<K: CacheKey, V: Send + Sync + 'static> CacheBuilder<K, V> {
    /// Remembers this many of the hottest keys across restarts, in the manifest of the
    /// [`Caches`](crate::Caches); [`Caches::warm`](crate::Caches::warm) of the next process loads them.
    ///
    /// It watches one read in 16, and holds four keys for each that it is to remember. At most 100,000.
    pub fn hot_keys(mut self, count: usize) -> Self
    where
        K: Serialize + DeserializeOwned,
    {
        self.watch.hot = (count > 0).then(|| Hot::new(count));
        self
    }

    /// Loads ahead what is read soon after: `related` is called with each key that was loaded, and the
    /// keys it returns are loaded by the registered loader, in the background and at low priority.
    ///
    /// Eight such loads run at once, 56 wait, more are skipped; what they load leads to no further
    /// loads before it is read. How many were worth it is in `CacheStats`. Needs
    /// [`loader`](Self::loader).
    pub fn related(mut self, related: impl Fn(&K, &V) -> Vec<K> + Send + Sync + 'static) -> Self {
        self.watch.relations.push(Arc::new(related));
        self
    }

    /// Learns which keys the same task loads soon after which, and loads ahead what followed in at least
    /// this share of the loads, 0 to 1 (0.5 is a good begin).
    ///
    /// It remembers four successors for each of 4,096 keys. Needs [`loader`](Self::loader).
    pub fn learn_successors(mut self, confidence: f64) -> Self {
        self.watch.confidence = Some(confidence);
        self
    }

    /// Keeps a set of keys warm: [`Caches::warm`](crate::Caches::warm) loads them at the start, and a
    /// task of the runtime loads them anew as the schedule says. `keys` is asked each time; when it
    /// panics, or takes longer than half of `WarmOptions::within`, that round is left out.
    ///
    /// Needs [`loader`](Self::loader). The task ends with the last handle of the cache, once a round
    /// that is under way has ended.
    pub fn warm_set<F, Fut>(mut self, schedule: WarmSchedule, keys: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<K>> + Send + 'static,
    {
        self.watch.sets.push(WarmSet {
            schedule,
            keys: Arc::new(move || keys().boxed()),
        });
        self
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// Brings these keys into memory, from the tiers below or by the registered loader, within the
    /// default [`WarmOptions`]. It never fails: the report says what was warmed and what was not.
    ///
    /// Dropping the future begins nothing more; loads that were begun go on and are kept.
    pub async fn warm(&self, keys: impl IntoIterator<Item = K>) -> WarmReport {
        self.warm_with(keys, &WarmOptions::default()).await
    }

    /// As [`warm`](Self::warm), within these limits.
    pub async fn warm_with(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: &WarmOptions,
    ) -> WarmReport {
        let keys = keys.into_iter().collect();
        Arc::clone(&self.inner).warm_all(keys, options, false).await
    }

    /// Begins to load these keys in the background, as [`CacheBuilder::related`] does, such as for
    /// what another cache's value refers to. Those that memory has, and those that find no room, are
    /// skipped. Nothing happens in a cache without a registered loader, and outside of a runtime.
    pub fn prefetch(&self, keys: impl IntoIterator<Item = K>) {
        for key in keys {
            self.inner.load_ahead(key);
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Warms the keys; with `renew`, those that are in memory are loaded anew.
    async fn warm_all(
        self: Arc<Self>,
        keys: Vec<K>,
        options: &WarmOptions,
        renew: bool,
    ) -> WarmReport {
        warm(keys, options, |key| Arc::clone(&self).warm_one(key, renew)).await
    }

    async fn warm_one(self: Arc<Self>, key: K, renew: bool) -> Warmed {
        let held = match self.look(&key) {
            Seen::Fresh(_) | Seen::Due(_) | Seen::Absent if !renew => return Warmed::Present,
            seen => seen.fallback(),
        };
        let replaces = held
            .filter(|_| renew)
            .map(|value| value.entry().meta.times.filled);
        let outcome = self.bring(&key, replaces).await;
        let failed = |error: String| {
            let text = key_text(&key).unwrap_or_else(|| "(a key too long to show)".to_owned());
            Warmed::Failed(text, error)
        };
        match outcome {
            Ok(Lookup::Loaded { .. } | Lookup::Hit { .. }) => {
                self.meter.warmed.add();
                Warmed::Loaded
            }
            Ok(Lookup::Absent) => Warmed::Absent,
            Ok(Lookup::Stale { .. }) => failed("only an old value is to be had".to_owned()),
            Ok(Lookup::Miss) => failed(with_causes(&LoadError::NoLoader)),
            Err(error) => failed(with_causes(&error)),
        }
    }

    /// As a read would, but it counts as none.
    async fn bring(
        self: &Arc<Self>,
        key: &K,
        replaces: Option<u64>,
    ) -> Result<Lookup<V>, LoadError> {
        let hash = key_hash(key, self.id);
        let token = self.floors.token();
        let Some(load) = self.registered(key) else {
            let found = self.find_below(key, hash, token, self.tiers, None).await;
            return Ok(match found {
                Below::Fresh(entry, tier) => Lookup::hit(Cached::new(entry, false), tier),
                Below::Absent(_) => Lookup::Absent,
                Below::Stale(..) | Below::Fallback(..) | Below::Nothing => Lookup::Miss,
            });
        };
        let known = self.known_tags(key, &EntryOptions::default());
        let joins = |begun: &_| self.may_join(hash, &known, begun);
        let (waiter, seat) = self.flights.join(key, token, joins);
        if let Some(seat) = seat {
            let mut ask = Ask::new(key.clone(), hash, token, Wish::default().within(self.tiers));
            ask.replaces = replaces;
            ask.ahead = true;
            // CANCEL: a warming that is dropped neither ends the load nor leaves the key blocked.
            drop(
                self.common
                    .tasks
                    .spawn(Arc::clone(self).fly(seat, ask, load)),
            );
        }
        waiter.outcome().await
    }

    /// What is to be warmed at the start: the keys of the manifest's section, then those of the warm
    /// sets that name theirs until then.
    pub(super) async fn plan_warming(
        self: Arc<Self>,
        section: Option<Section>,
        until: Instant,
    ) -> Option<WarmJob> {
        let mut keys = section.map_or_else(Vec::new, |section| self.keys_of(&section));
        let sets = self.warm_sets().iter();
        let named = join_all(sets.map(|set| set.named(&self.name, until))).await;
        keys.extend(named.into_iter().flatten());
        (!keys.is_empty()).then(|| WarmJob {
            cache: Arc::clone(&self.name),
            keys: keys.len(),
            run: Box::new(move |options| {
                async move { self.warm_all(keys, &options, false).await }.boxed()
            }),
        })
    }

    /// Begins the tasks of the warm sets, if there is a runtime to run them.
    pub(super) fn begin_warm_sets(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        for set in self.warm_sets() {
            let pause = set.schedule.pause(self.common.chance.unit());
            let (cache, name) = (Arc::downgrade(self), Arc::clone(&self.name));
            drop(runtime.spawn(keep_warm(cache, name, set.clone(), pause)));
        }
    }
}

/// Warms one set again and again; holds the cache only while it loads.
async fn keep_warm<K, V>(
    cache: Weak<Inner<K, V>>,
    name: Arc<str>,
    set: WarmSet<K>,
    mut pause: Duration,
) where
    K: CacheKey,
    V: Send + Sync + 'static,
{
    let options = &set.schedule.options;
    loop {
        sleep(pause).await;
        if cache.strong_count() == 0 {
            return;
        }
        let keys = set.named(&name, Instant::now() + options.naming()).await;
        let Some(inner) = cache.upgrade() else { return };
        if inner.common.tasks.is_closed() {
            return;
        }
        let report = Arc::clone(&inner).warm_all(keys, options, true).await;
        tracing::debug!(cache = &*name, %report, "warm set loaded anew");
        pause = set.schedule.pause(inner.common.chance.unit());
    }
}

/// An error with the causes that its own text leaves out.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl<K> fmt::Debug for WarmSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmSet")
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
