//! What a load of an absent key costs, beside the loads of other memory caches.

use std::cell::Cell;
use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;

use harness::Suite;
use tiered_cache::TieredCache;

use crate::data::{TTL, policy, value};

/// The caches are full, so that each load also pushes a value out.
const FULL: u64 = 10_000;

pub(crate) fn add(suite: &mut Suite) {
    suite
        .bench("memory-miss-load")
        .about("load of an absent key into a full cache of 10,000; ours on a task that outlives its caller")
        .ours_async("TieredCache::get_or_load", async || {
            let cache: TieredCache<u64, String> =
                TieredCache::memory("bench", policy(FULL as usize)).expect("a valid policy");
            loads(async move |key| {
                let loader = move || async move { Ok::<_, Infallible>(Some(value(key))) };
                let lookup = cache.get_or_load(&key, loader).await;
                let lookup = lookup.expect("the loader does not fail");
                lookup.into_value().expect("the loader finds everything")
            })
            .await
        })
        .peer_async("moka try_get_with", async || {
            let cache: moka::future::Cache<u64, Arc<String>> = moka::future::Cache::builder()
                .max_capacity(FULL)
                .time_to_live(TTL)
                .build();
            loads(async move |key| {
                let loader = async { Ok::<_, Infallible>(Arc::new(value(key))) };
                let loaded = cache.try_get_with(key, loader).await;
                loaded.expect("the loader does not fail")
            })
            .await
        })
        .peer_async("quick_cache get_or_insert_async", async || {
            let cache = quick_cache::sync::Cache::<u64, Arc<String>>::new(FULL as usize);
            loads(async move |key| {
                let loader = async { Ok::<_, Infallible>(Arc::new(value(key))) };
                let loaded = cache.get_or_insert_async(&key, loader).await;
                loaded.expect("the loader does not fail")
            })
            .await
        });
}

/// Fills the cache behind `load`, then goes on with keys that it has never seen.
async fn loads<T: Deref<Target = String>>(
    load: impl AsyncFn(u64) -> T + 'static,
) -> impl AsyncFn() -> T {
    for key in 0..FULL {
        assert_eq!(*load(key).await, value(key));
    }
    let next = Cell::new(FULL);
    async move || load(next.replace(next.get() + 1)).await
}
