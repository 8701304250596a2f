//! How values are kept and invalidated: memory under the floors first, then the tiers below.

use std::{sync::Arc, time::Duration};

use super::Inner;
use crate::{
    envelope::Body,
    hash,
    key::{CacheKey, key_hash, key_text},
    old_tier::{EntryKey, Target, Tier},
};

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    pub(super) fn publish(
        &self,
        key: &K,
        hash: u64,
        token: u64,
        value: &Arc<V>,
        ttl: Duration,
    ) -> bool {
        let keep = || self.memory.insert(key.clone(), Arc::clone(value), ttl);
        let kept = self.floors.publish(hash, token, keep);
        if kept {
        } else {
            self.meter.unpublished.add();
        }
        kept
    }

    pub(super) async fn invalidate(&self, key: &K) {
        let (hash, entry) = self.entry(key);
        let target = Target::Key {
            hash,
            entry: entry.as_ref(),
        };
        let tickets = self.announce(target);
        let version = self.floors.raise(hash, || self.memory.remove(key));
        self.record(target, version);
        // CANCEL: from here on only Redis is left, and its tier has noted the removal already.
        self.settle(target, &tickets).await;
    }

    /// Writes a fill (no tickets) or an insertion to the tiers below.
    pub(super) async fn write_below(
        &self,
        entry: &EntryKey,
        body: &Body,
        version: u64,
        ttl: Duration,
        tickets: Option<&[u64]>,
    ) {
        let Some(lower) = &self.lower else { return };
        let expires_ms = self.clock.exact_ms() + ttl.as_millis() as u64;
        let bytes = lower.codec.seal(body, &entry.text, version, expires_ms);
        for (at, tier) in lower.tiers.iter().enumerate() {
            if !self.floors.allows(entry.hash, version) {
                break;
            }
            let ticket = tickets.and_then(|tickets| tickets.get(at).copied());
            let written = tier.write(entry, bytes.clone(), ttl, ticket).await;
            // An invalidation whose own deletion came before this write: delete once more. Until
            // then its version keeps it from being served here.
            if written && tier.shared() && !self.floors.allows(entry.hash, version) {
                let target = Target::Key {
                    hash: entry.hash,
                    entry: Some(entry),
                };
                let ticket = tier.announce(target);
                tier.settle(target, ticket).await;
            }
        }
    }

    pub(super) fn announce(&self, target: Target<'_>) -> Vec<u64> {
        self.tiers()
            .iter()
            .map(|tier| tier.announce(target))
            .collect()
    }

    pub(super) fn record(&self, target: Target<'_>, version: u64) {
        self.tiers()
            .iter()
            .for_each(|tier| tier.record(target, version));
    }

    pub(super) async fn settle(&self, target: Target<'_>, tickets: &[u64]) {
        for (tier, ticket) in self.tiers().iter().zip(tickets) {
            tier.settle(target, *ticket).await;
        }
    }

    pub(super) fn tiers(&self) -> &[Arc<dyn Tier>] {
        self.lower.as_ref().map_or(&[], |lower| &lower.tiers)
    }

    /// The bytes of the value; `None` where no tier wants them. `Err` when it must not be kept.
    pub(super) fn encode(&self, value: &V) -> Result<Option<Body>, ()> {
        let Some(lower) = &self.lower else {
            return Ok(None);
        };
        lower.codec.encode(value).map(Some).map_err(|reason| {
            self.meter.unkept.add();
            tracing::debug!(cache = &*self.name, ?reason, "value not kept");
        })
    }

    pub(super) fn entry(&self, key: &K) -> (u64, Option<EntryKey>) {
        let hash = key_hash(key, self.seed);
        let entry = self
            .lower
            .as_ref()
            .and_then(|_| self.entry_below(key, hash));
        (hash, entry)
    }

    pub(super) fn entry_below(&self, key: &K, hash: u64) -> Option<EntryKey> {
        self.lower.as_ref()?;
        let text = key_text(key)?;
        Some(EntryKey {
            cache: Arc::clone(&self.name),
            hash,
            text,
        })
    }

    /// The policy's TTL less up to 5 %, by key and time.
    pub(super) fn ttl(&self, hash: u64) -> Duration {
        let random = (hash::mix(hash ^ self.clock.exact_ms()) >> 32) as f64 / f64::from(u32::MAX);
        self.policy.ttl.mul_f64(1.0 - JITTER * random)
    }
}

/// Enough to spread a burst of loads, little enough not to be noticed in hit rates.
const JITTER: f64 = 0.05;
