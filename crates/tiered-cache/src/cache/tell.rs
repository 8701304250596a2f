//! What a cache counts and tells its listeners of loads, stale answers and invalidations.

use std::sync::Arc;

use super::{Inner, TieredCache, fly::Ask, run::Ran};
use crate::{
    cached::Cached,
    coherence::Effect,
    events::{CacheEvent, CacheEvents, LoadEnd, StaleReason},
    key::{CacheKey, key_text},
    policy::Content,
    tag::Tag,
};

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// What happens from now on in this cache, and in those that share its
    /// [`Caches`](crate::Caches); see [`CacheEvent`].
    pub fn events(&self) -> CacheEvents {
        self.inner.common.events.listen()
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// A reader was given a value past its time.
    pub(super) fn served_stale(&self, key: &K, reason: StaleReason) {
        self.meter.stale_served.add();
        if reason != StaleReason::Revalidating {
            self.meter.fallbacks.add();
        }
        self.common.events.tell(|| CacheEvent::StaleServed {
            cache: Arc::clone(&self.name),
            key: text_of(key),
            reason,
        });
    }

    /// Why a flight gave its callers an old value.
    pub(super) fn why_stale(&self, value: &Cached<V>) -> StaleReason {
        let revalidated = value.entry().meta.times.revalidate_until;
        if self.clock.now_ms() < revalidated {
            StaleReason::Revalidating
        } else {
            StaleReason::Error
        }
    }

    pub(super) fn tell_load(&self, ask: &Ask<K>, ran: &Ran<V>) {
        if ran.result.is_err() && ask.replaces.is_some() {
            self.meter.refreshes_failed.add();
        }
        self.common.events.tell(|| CacheEvent::Loaded {
            cache: Arc::clone(&self.name),
            key: text_of(&ask.key),
            outcome: match &ran.result {
                Ok(loaded) => match loaded.content {
                    Content::Value(_) | Content::NotModified => LoadEnd::Value,
                    Content::Absent => LoadEnd::Absent,
                },
                Err(_) => LoadEnd::Failed,
            },
            took: ran.took,
        });
    }

    /// One key was expired or removed.
    pub(super) fn tell_key(&self, key: &K, effect: Effect) {
        self.common.events.tell(|| {
            let (cache, key) = (Arc::clone(&self.name), text_of(key));
            match effect {
                Effect::Expire => CacheEvent::Expired { cache, key },
                Effect::Remove => CacheEvent::Removed { cache, key },
            }
        });
    }

    /// All that carries a tag was expired or removed.
    pub(super) fn tell_tag(&self, tag: &Tag, effect: Effect) {
        self.common.events.tell_tag(tag, effect);
    }

    /// More than one key of this cache was expired or removed.
    pub(super) fn tell_many(&self, what: impl FnOnce() -> String, effect: Effect) {
        self.common.events.tell(|| CacheEvent::Invalidated {
            what: format!("{} of cache {}", what(), self.name).into(),
            effect,
        });
    }
}

pub(super) fn text_of<K: CacheKey>(key: &K) -> Arc<str> {
    key_text(key).map_or_else(|| "(a key too long to show)".into(), Into::into)
}
