//! What applications say of invalidations: one of them, several at once, and those that follow from a
//! stream of events.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};

use super::{Batch, Change, Effect, Ledger};
use crate::{cache::TieredCache, key::CacheKey, tag::Tag};

/// One invalidation: what it covers, and what it does. It removes, unless [`expire`](Self::expire) says
/// otherwise.
///
/// It is for the [`Caches`](crate::Caches) that its cache belongs to: applied to others, or made of a
/// cache in memory alone, it does nothing.
///
/// ```
/// use tiered_cache::Invalidation;
///
/// let of_a_tag = Invalidation::tag("team:3").expire();
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens before it is applied"]
pub struct Invalidation {
    pub(super) change: Change,
}

impl Invalidation {
    /// Everything that carries the tag, in every cache.
    pub fn tag(tag: impl Into<Tag>) -> Self {
        Self::of(Change::tag(tag.into().hash, Effect::Remove))
    }

    /// One key of one cache.
    pub fn key<K, V>(cache: &TieredCache<K, V>, key: &K) -> Self
    where
        K: CacheKey,
        V: Send + Sync + 'static,
    {
        Self::of(cache.inner.key_change(key, Effect::Remove))
    }

    /// Every key of the cache whose text begins with `prefix`; see
    /// [`TieredCache::invalidate_prefix`].
    pub fn prefix<K, V>(cache: &TieredCache<K, V>, prefix: &str) -> Self
    where
        K: CacheKey,
        V: Send + Sync + 'static,
    {
        Self::of(cache.inner.prefix_change(prefix, Effect::Remove))
    }

    /// Every key of the cache that its pattern `name` puts into `group`; see
    /// [`TieredCache::invalidate_pattern`].
    pub fn pattern<K, V>(cache: &TieredCache<K, V>, name: &str, group: &str) -> Self
    where
        K: CacheKey,
        V: Send + Sync + 'static,
    {
        Self::of(cache.inner.pattern_change(name, group, Effect::Remove))
    }

    /// Every key of the cache.
    pub fn cache<K, V>(cache: &TieredCache<K, V>) -> Self
    where
        K: CacheKey,
        V: Send + Sync + 'static,
    {
        Self::of(Change::cache(cache.inner.id, Effect::Remove))
    }

    pub(crate) fn of(change: Change) -> Self {
        Self { change }
    }

    /// Makes what it covers stale: it may still be served where the policy lets a stale value serve.
    pub fn expire(mut self) -> Self {
        self.change.effect = Effect::Expire;
        self
    }

    /// What it covers is never served again.
    pub fn remove(mut self) -> Self {
        self.change.effect = Effect::Remove;
        self
    }
}

/// Invalidations by transaction and by event; a cheap clone of a handle.
#[derive(Debug, Clone)]
pub struct Invalidations {
    ledger: Arc<Ledger>,
}

impl Invalidations {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }

    /// Begins a batch beside a database transaction.
    pub fn begin(&self) -> Batch {
        Batch::new(Arc::clone(&self.ledger))
    }

    /// Applies several invalidations as one: in this process they are in force when the future is first
    /// polled, in the shared tiers and other replicas when it returns, as far as they can be reached.
    ///
    /// Dropped midway, or with the shared tiers away, the rest is done in the background.
    pub async fn apply(&self, invalidations: impl IntoIterator<Item = Invalidation>) {
        let changes: Vec<_> = invalidations.into_iter().map(|one| one.change).collect();
        if changes.is_empty() {
            return;
        }
        let ticket = self.ledger.announce(&changes);
        self.ledger.tell_applied(&changes);
        self.ledger.settle(ticket).await;
    }

    /// Applies what `map` makes of each event, in order, until the stream ends. Events that are ready
    /// together are applied together, at most 256 of them.
    ///
    /// ```
    /// use tiered_cache::{Caches, Invalidation};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let caches = Caches::builder().build().await?;
    /// let events = futures_util::stream::iter([7, 9]);
    /// let changed = |user: u64| [Invalidation::tag(format!("user:{user}")).remove()];
    /// caches.invalidations().follow(events, changed).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Dropping the future stops following; what it took from the stream before is applied. A panic of
    /// `map` goes to the caller, once what came of the events before is applied; those that were ready
    /// together with its event and come after it are lost.
    pub async fn follow<S, F, I>(&self, events: S, mut map: F)
    where
        S: Stream,
        F: FnMut(S::Item) -> I,
        I: IntoIterator<Item = Invalidation>,
    {
        let mut events = pin!(events.ready_chunks(EVENTS_AT_ONCE));
        while let Some(some) = events.next().await {
            let mut invalidations = Vec::new();
            let mapping = || {
                for one in some {
                    invalidations.extend(map(one));
                }
            };
            // What it has changed is its own, and nobody calls it again.
            let mapped = catch_unwind(AssertUnwindSafe(mapping));
            // CANCEL: in force here before the next await; the ledger sees to the shared tiers.
            self.apply(invalidations).await;
            if let Err(panic) = mapped {
                resume_unwind(panic);
            }
        }
    }
}

const EVENTS_AT_ONCE: usize = 256;
