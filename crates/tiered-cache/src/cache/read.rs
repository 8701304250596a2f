//! How a value is found or loaded: the tiers in order, and the life of one load.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Inner;
use crate::{
    envelope::{Codec, Reject},
    error::{BoxError, LoadError},
    key::CacheKey,
    old_flight::Seat,
    old_lookup::{Lookup, TierKind},
    old_memory::Found,
    old_tier::{EntryKey, Read, Tier},
    stats::Outcome,
};

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// A hit takes no key text, no token and no allocation.
    pub(super) fn in_memory(&self, key: &K) -> Option<Arc<V>> {
        let (outcome, value) = match self.memory.get(key) {
            Found::Fresh(value) => (Outcome::Hit, Some(value)),
            Found::Expired => (Outcome::Stale, None),
            Found::Absent => (Outcome::Miss, None),
        };
        self.meter.read(TierKind::Memory, outcome);
        value
    }

    /// Asks the tiers below memory; what one has goes to memory, if the token still holds.
    pub(super) async fn find_below(&self, key: &K, hash: u64, token: u64) -> Option<Lookup<V>> {
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
    pub(super) fn accept(
        &self,
        codec: &Codec<V>,
        tier: &dyn Tier,
        entry: &EntryKey,
        bytes: &[u8],
    ) -> (Outcome, Option<(Arc<V>, Duration)>) {
        let now_ms = self.clock.exact_ms();
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
    pub(super) async fn fly<F, Fut, E>(
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

    pub(super) async fn load<F, Fut, E>(&self, loader: F) -> Result<Option<V>, LoadError>
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
