//! The memory tier: shared values with an expiry, on quick_cache.

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use tokio::time::Instant;

use crate::key::CacheKey;

/// At most `capacity` values; an expired one leaves when it is read or evicted.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    entries: Cache<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    expires: Instant,
}

pub(crate) enum Found<V> {
    Fresh(Arc<V>),
    Expired,
    Absent,
}

impl<K: CacheKey, V> Memory<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: Cache::new(capacity),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Found<V> {
        let Some(entry) = self.entries.get(key) else {
            return Found::Absent;
        };
        let now = Instant::now();
        if now < entry.expires {
            return Found::Fresh(entry.value);
        }
        // Only what is still expired: a fresh value may have come in meanwhile.
        self.entries.remove_if(key, |entry| entry.expires <= now);
        Found::Expired
    }

    pub(crate) fn insert(&self, key: K, value: Arc<V>, ttl: Duration) {
        self.entries.insert(
            key,
            Entry {
                value,
                expires: Instant::now() + ttl,
            },
        );
    }

    pub(crate) fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    pub(crate) fn clear(&self) {
        self.entries.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            expires: self.expires,
        }
    }
}
