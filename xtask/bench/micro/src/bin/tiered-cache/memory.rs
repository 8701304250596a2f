//! What a hit in the memory tier costs, with TTL and statistics, beside memory caches and other tiered ones.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use cached::ShardedLruTtlCache;
use foyer::{HybridCache, HybridCacheBuilder};
use futures_util::FutureExt as _;
use harness::Suite;
use multi_tier_cache::backends::{MokaCache, MokaCacheConfig};
use multi_tier_cache::{CacheManager, CacheStrategy};
use tiered_cache::TieredCache;

use crate::data::{KEYS, ROOM, TTL, fill, policy, reads, reads_of, service_runtime, value, verify};

pub(crate) fn add(suite: &mut Suite) {
    suite
        .bench("memory-hit")
        .about(
            "get of a present key: 100,000 keys, read Zipf-like, 256 bytes each; ours, moka, cached and multi-tier-cache \
             with a TTL",
        )
        .threads(&[1, 2])
        .ours_shared("TieredCache::get", || {
            let _inside = service_runtime().enter();
            let cache: TieredCache<u64, String> =
                TieredCache::memory("bench", policy(ROOM)).expect("a valid policy");
            // A memory tier alone never waits, so that one poll is the whole call.
            fill(|key| cache.insert(&key, value(key)).now_or_never().expect("no lower tier"));
            verify(|key| cache.peek(&key).expect("a hit").to_string());
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads(thread));
                move || cache.get(&next()).now_or_never()
            }
        })
        .peer_shared("quick_cache", || {
            let cache = Arc::new(quick_cache::sync::Cache::<u64, Arc<String>>::new(ROOM));
            fill(|key| cache.insert(key, Arc::new(value(key))));
            verify(|key| cache.get(&key).expect("a hit").to_string());
            move |thread| {
                let (cache, mut next) = (Arc::clone(&cache), reads(thread));
                move || cache.get(&next())
            }
        })
        .peer_shared("moka", || {
            let cache: moka::sync::Cache<u64, Arc<String>> = moka::sync::Cache::builder()
                .max_capacity(ROOM as u64)
                .time_to_live(TTL)
                .build();
            fill(|key| cache.insert(key, Arc::new(value(key))));
            verify(|key| cache.get(&key).expect("a hit").to_string());
            cache.run_pending_tasks();
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads(thread));
                move || cache.get(&next())
            }
        })
        .peer_shared("foyer", || {
            let cache: foyer::Cache<u64, String> = foyer::CacheBuilder::new(ROOM).build();
            fill(|key| drop(cache.insert(key, value(key))));
            verify(|key| cache.get(&key).expect("a hit").value().clone());
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads(thread));
                move || cache.get(&next())
            }
        })
        .peer_shared("foyer HybridCache", || {
            let cache = hybrid();
            fill(|key| drop(cache.insert(key, value(key))));
            let get = |key| cache.get(&key).now_or_never()?.ok()?;
            verify(|key| get(key).expect("a hit").value().clone());
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads(thread));
                move || cache.get(&next()).now_or_never()
            }
        })
        .peer_shared("cached ShardedLruTtlCache", || {
            let cache: Arc<ShardedLruTtlCache<u64, Arc<String>>> = Arc::new(
                ShardedLruTtlCache::builder()
                    .max_size(ROOM)
                    .ttl(TTL)
                    .build()
                    .expect("a size and a time"),
            );
            fill(|key| drop(cache.set(key, Arc::new(value(key)))));
            verify(|key| cache.get(&key).expect("a hit").to_string());
            move |thread| {
                let (cache, mut next) = (Arc::clone(&cache), reads(thread));
                move || cache.get(&next())
            }
        })
        .peer_shared("multi-tier-cache get", || {
            let cache = Arc::new(two_tiers());
            let names: Arc<Vec<String>> = Arc::new((0..KEYS).map(|key| key.to_string()).collect());
            let set = |key: u64| {
                let bytes = value(key).into_bytes().into();
                let set = cache.set_with_strategy(&names[key as usize], bytes, CacheStrategy::LongTerm);
                set.now_or_never().expect("no tier waits").expect("it is kept");
            };
            fill(set);
            let get = |key: u64| cache.get(&names[key as usize]).now_or_never()?.ok()?;
            verify(|key| String::from_utf8(get(key).expect("a hit").to_vec()).expect("text"));
            move |thread| {
                let (cache, names, mut next) = (Arc::clone(&cache), Arc::clone(&names), reads(thread));
                move || cache.get(&names[next() as usize]).now_or_never()
            }
        })
        .peer_shared("floor:RwLock HashMap", || {
            let map: Arc<RwLock<HashMap<u64, Arc<String>>>> = Arc::default();
            let get = |map: &RwLock<HashMap<_, _>>, key| map.read().ok()?.get(&key).cloned();
            fill(|key| drop(map.write().expect("no poison").insert(key, Arc::new(value(key)))));
            verify(|key| get(&map, key).expect("a hit").to_string());
            move |thread| {
                let (map, mut next) = (Arc::clone(&map), reads(thread));
                move || get(&map, next())
            }
        });
}

/// Few enough keys that the processor's caches hold them: what is told is the work of a hit, not the latency of memory.
pub(crate) fn add_hot(suite: &mut Suite) {
    suite
        .bench("memory-hit-hot")
        .about("as memory-hit, of 1,000 keys")
        .threads(&[1, 2])
        .ours_shared("TieredCache::get", || {
            let _inside = service_runtime().enter();
            let cache: TieredCache<u64, String> =
                TieredCache::memory("bench", policy(ROOM)).expect("a valid policy");
            for key in 0..HOT {
                cache
                    .insert(&key, value(key))
                    .now_or_never()
                    .expect("no lower tier");
            }
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads_of(thread, HOT));
                move || cache.get(&next()).now_or_never()
            }
        })
        .peer_shared("quick_cache", || {
            let cache = Arc::new(quick_cache::sync::Cache::<u64, Arc<String>>::new(ROOM));
            (0..HOT).for_each(|key| cache.insert(key, Arc::new(value(key))));
            move |thread| {
                let (cache, mut next) = (Arc::clone(&cache), reads_of(thread, HOT));
                move || cache.get(&next())
            }
        })
        .peer_shared("moka", || {
            let cache: moka::sync::Cache<u64, Arc<String>> = moka::sync::Cache::builder()
                .max_capacity(ROOM as u64)
                .time_to_live(TTL)
                .build();
            (0..HOT).for_each(|key| cache.insert(key, Arc::new(value(key))));
            cache.run_pending_tasks();
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads_of(thread, HOT));
                move || cache.get(&next())
            }
        })
        .peer_shared("foyer HybridCache", || {
            let cache = hybrid();
            (0..HOT).for_each(|key| drop(cache.insert(key, value(key))));
            move |thread| {
                let (cache, mut next) = (cache.clone(), reads_of(thread, HOT));
                move || cache.get(&next()).now_or_never()
            }
        });
}

const HOT: u64 = 1_000;

/// foyer's hybrid cache with everything in its memory, and no disk below.
fn hybrid() -> HybridCache<u64, String> {
    service_runtime()
        .block_on(HybridCacheBuilder::new().memory(ROOM).storage().build())
        .expect("memory alone")
}

/// Its first tier, which answers every read, and a second one of the same kind: it takes no fewer.
fn two_tiers() -> CacheManager {
    let tier = || {
        let config = MokaCacheConfig {
            max_capacity: ROOM as u64,
            time_to_live: TTL,
            time_to_idle: Duration::from_secs(3600),
        };
        Arc::new(MokaCache::new(config).expect("a capacity"))
    };
    CacheManager::new_with_backends(tier(), tier(), None).expect("two tiers")
}
