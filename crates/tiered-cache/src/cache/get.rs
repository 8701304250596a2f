//! Reads without a loader: all tiers in order, or memory alone.

use std::sync::Arc;

use super::{Inner, TieredCache, below::Below, hit::Seen};
use crate::{
    cached::{Cached, Lookup, TierKind, TierSet},
    events::StaleReason,
    key::{CacheKey, key_hash},
};

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// The value, from the first tier that has it; a value found below memory is kept in memory.
    ///
    /// A value past its time is answered as [`Lookup::Stale`] within `Policy::stale_while_revalidate`;
    /// a cache with a registered loader then refreshes it in the background. Dropping the future is
    /// safe at any point.
    pub async fn get(&self, key: &K) -> Lookup<V> {
        self.inner.get(key, TierSet::ALL).await
    }

    /// What memory has, without waiting, without asking other tiers, and without counting as a read.
    pub fn peek(&self, key: &K) -> Option<Cached<V>> {
        match self.inner.look(key) {
            Seen::Fresh(value) | Seen::Due(value) | Seen::Stale(value) | Seen::Quiet(value) => {
                Some(value)
            }
            Seen::Fallback(_) | Seen::Absent | Seen::Gone | Seen::Nothing => None,
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    pub(super) async fn get(self: &Arc<Self>, key: &K, tiers: TierSet) -> Lookup<V> {
        let tiers = tiers.and(self.tiers);
        match self.get_from_memory(key, tiers) {
            Ok(found) => found,
            // Boxed, so that a hit makes and moves a future of a few words: with the state of a read of
            // all tiers in it, that took a quarter of the hit.
            Err(stale) => Box::pin(self.get_beyond(key, tiers, stale)).await,
        }
    }

    /// The answer of memory; or, where other tiers are to be asked first, its old value.
    #[inline]
    fn get_from_memory(
        self: &Arc<Self>,
        key: &K,
        tiers: TierSet,
    ) -> Result<Lookup<V>, Option<Cached<V>>> {
        let memory = if tiers.contains(TierKind::Memory) {
            self.read_memory(key)
        } else {
            Seen::Nothing
        };
        match memory {
            Seen::Fresh(value) => Ok(Lookup::hit(value, TierKind::Memory)),
            Seen::Due(value) => {
                self.refresh_registered(key);
                Ok(Lookup::hit(value, TierKind::Memory))
            }
            Seen::Quiet(value) => {
                self.served_stale(key, StaleReason::Error);
                Ok(Lookup::stale(value, TierKind::Memory))
            }
            Seen::Absent => Ok(Lookup::Absent),
            Seen::Stale(value) => Err(Some(value)),
            Seen::Fallback(_) | Seen::Gone | Seen::Nothing => Err(None),
        }
    }

    async fn get_beyond(
        self: &Arc<Self>,
        key: &K,
        tiers: TierSet,
        stale: Option<Cached<V>>,
    ) -> Lookup<V> {
        // Only a value that still serves at once is worth an answer here: nobody asks a loader.
        let found = self.get_below(key, tiers, stale).await;
        if found.is_stale() {
            self.served_stale(key, StaleReason::Revalidating);
            self.refresh_registered(key);
        }
        found
    }

    async fn get_below(&self, key: &K, tiers: TierSet, stale: Option<Cached<V>>) -> Lookup<V> {
        if self.asks_below(tiers) {
            let hash = key_hash(key, self.id);
            let token = self.floors.token();
            match self.find_below(key, hash, token, tiers, None).await {
                Below::Fresh(entry, tier) => return Lookup::hit(Cached::new(entry, false), tier),
                Below::Absent(_) => return Lookup::Absent,
                Below::Stale(entry, tier) if stale.is_none() => {
                    return Lookup::stale(Cached::new(entry, true), tier);
                }
                Below::Stale(..) | Below::Fallback(..) | Below::Nothing => {}
            }
        }
        stale.map_or(Lookup::Miss, |value| Lookup::stale(value, TierKind::Memory))
    }
}

impl<V> Lookup<V> {
    pub(crate) fn hit(value: Cached<V>, tier: TierKind) -> Self {
        Self::Hit { value, tier }
    }

    pub(crate) fn stale(value: Cached<V>, tier: TierKind) -> Self {
        Self::Stale { value, tier }
    }
}
