//! Query results that replicas share: the pool's store of results, kept in the Redis tier.
//!
//! The pool and the cache know nothing of each other; this is the one place where they meet. The pool
//! has a memory of its own in front and judges by itself whether a result is outdated, so this cache uses
//! neither its memory nor its disk tier, and nothing here is ever invalidated.

use std::{pin::Pin, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use db_pool::{ResultStore, StoreError};
use sha2::{Digest as _, Sha256};
use tiered_cache::{Caches, ConfigError, Policy, TierKind, TierSet, TieredCache};

/// Results by the checksum of what was asked.
#[derive(Clone, Debug)]
pub struct SharedResults(TieredCache<String, Vec<u8>>);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl SharedResults {
    /// In the Redis tier of `caches`; without one nothing is ever found.
    ///
    /// # Errors
    /// A TTL that the cache does not accept.
    pub fn new(caches: &Caches, ttl: Duration) -> Result<Self, ConfigError> {
        let policy = Policy {
            ttl,
            ..Policy::default()
        };
        let cache = TieredCache::builder("query-results").policy(policy);
        let cache = cache.tiers(TierSet::NONE.with(TierKind::Redis));
        cache.build(caches).map(Self)
    }
}

impl ResultStore for SharedResults {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let found = self.0.get(&name(key)).await;
            Ok(found.value().map(|value| (**value).clone()))
        })
    }

    fn put<'a>(&'a self, key: &'a [u8], value: Vec<u8>, ttl: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            self.0.entry(&name(key)).ttl(ttl).insert(value).await;
            Ok(())
        })
    }
}

/// A key holds a whole statement with its values: too long for Redis, so a checksum that nobody can make
/// collide stands for it.
fn name(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(key))
}
