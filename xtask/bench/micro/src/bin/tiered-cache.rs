//! What a hit and a load cost in the memory tier, and a hit on disk, beside the caches that people would use instead.

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, PsyncIoEngineConfig, Source,
};
use futures_util::FutureExt as _;
use harness::{Exit, Suite};
use tiered_cache::{Caches, DiskConfig, Policy, TierKind, TieredCache};

fn main() -> Exit {
    harness::main("tiered-cache", |suite: &mut Suite| {
        memory_hit(suite);
        memory_miss_load(suite);
        disk_hit(suite);
    })
}

/// Read by the hits.
const KEYS: u64 = 100_000;
/// Room for all of them however unevenly a cache spreads them over its shards, so that every read is a hit.
const ROOM: usize = 200_000;
const TTL: Duration = Duration::from_secs(3600);

/// 256 bytes that name their key.
fn value(key: u64) -> String {
    format!("{key:0256}")
}

// === memory-hit ===

fn memory_hit(suite: &mut Suite) {
    suite
        .bench("memory-hit")
        .about("get of a present key: 100,000 keys, read Zipf-like, 256 bytes each; ours and moka with a TTL")
        .threads(&[1, 2])
        .ours_shared("TieredCache::get", || {
            let cache: TieredCache<u64, String> =
                TieredCache::memory("bench", policy(ROOM)).expect("a valid policy");
            // A memory tier alone never waits, so that one poll is the whole call.
            let insert = |key, value| cache.insert_arc(&key, value).now_or_never();
            fill(|key| insert(key, Arc::new(value(key))).expect("no lower tier"));
            let get = |key| cache.get(&key).now_or_never()?.into_value();
            verify(|key| get(key).expect("a hit").to_string());
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

fn policy(memory_capacity: usize) -> Policy {
    Policy {
        capacity: tiered_cache::Capacity::Entries(memory_capacity),
        ttl: TTL,
        ..Policy::default()
    }
}

/// Inserts every key, in an order that puts no popular key beside another in memory.
fn fill(insert: impl FnMut(u64)) {
    let mut keys: Vec<u64> = (0..KEYS).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut keys);
    keys.into_iter().for_each(insert);
}

fn verify(get: impl Fn(u64) -> String) {
    assert!((0..KEYS).all(|key| get(key) == value(key)), "a wrong value");
}

/// Keys as a service reads them: the chance of the key of rank n is about 1/n. Drawn ahead, as drawing costs more than
/// some of the reads.
fn reads(thread: usize) -> impl FnMut() -> u64 {
    let mut random = fastrand::Rng::with_seed(thread as u64);
    let mut key = || (KEYS as f64).powf(random.f64()) as u64 - 1;
    let keys: Vec<u64> = (0..1 << 16).map(|_| key()).collect();
    let mut at = 0;
    move || {
        at = if at == 0 { keys.len() - 1 } else { at - 1 };
        keys[at]
    }
}

// === memory-miss-load ===

/// The caches are full, so that each load also pushes a value out.
const FULL: u64 = 10_000;

fn memory_miss_load(suite: &mut Suite) {
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
async fn loads(load: impl AsyncFn(u64) -> Arc<String> + 'static) -> impl AsyncFn() -> Arc<String> {
    for key in 0..FULL {
        assert_eq!(*load(key).await, value(key));
    }
    let next = Cell::new(FULL);
    async move || load(next.replace(next.get() + 1)).await
}

// === disk-hit ===

/// Many more than fit the 256 KiB of memory that foyer keeps before its disk. Read round and round, all come from disk.
const ON_DISK: u64 = 4_096;
const DISK_BYTES: usize = 64 << 20;

fn disk_hit(suite: &mut Suite) {
    suite
        .bench("disk-hit")
        .about(
            "get of a key that only the disk has (its page cache): 4,096 keys, values of 256 bytes",
        )
        .ours_async("TieredCache::get", async || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (caches, cache) = tiered(folder.path()).await;
            slowly(async |key| cache.insert(&key, value(key)).await).await;
            caches.close().await;
            // They hold the folder.
            drop((caches, cache));
            let (_, cache) = tiered(folder.path()).await;
            rounds(async move |key| {
                let _kept = &folder;
                let lookup = cache.get(&key).await;
                assert_eq!(lookup.tier(), Some(TierKind::Disk));
                lookup.into_value().expect("a hit")
            })
            .await
        })
        .peer_async("foyer HybridCache", async || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let cache = hybrid(folder.path()).await;
            slowly(async |key| drop(cache.insert(key, value(key)))).await;
            cache.close().await.expect("closed");
            let cache = hybrid(folder.path()).await;
            rounds(async move |key| {
                let _kept = &folder;
                let entry = cache.get(&key).await.expect("no error").expect("a hit");
                assert_eq!(entry.source(), Source::Disk);
                entry
            })
            .await
        });
}

async fn tiered(folder: &Path) -> (Caches, TieredCache<u64, String>) {
    let disk = DiskConfig {
        path: folder.into(),
        capacity_bytes: DISK_BYTES as u64,
        ..DiskConfig::default()
    };
    let caches = Caches::builder()
        .disk(disk)
        .build()
        .await
        .expect("an empty folder");
    let cache = caches.cache("bench", policy(1)).expect("a valid policy");
    (caches, cache)
}

/// The sizes that our disk tier gives foyer.
async fn hybrid(folder: &Path) -> HybridCache<u64, String> {
    let device = FsDeviceBuilder::new(folder)
        .with_capacity(DISK_BYTES)
        .build();
    let engine = BlockEngineConfig::new(device.expect("a folder"))
        .with_block_size(4 << 20)
        .with_buffer_pool_size(4 << 20)
        .with_submit_queue_size_threshold(4 << 20);
    HybridCacheBuilder::new()
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .memory(256 << 10)
        .with_shards(1)
        .with_weighter(|_: &u64, value: &String| value.len() + 100)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(engine)
        .build()
        .await
        .expect("an empty folder")
}

/// Inserts in bursts: both drop what comes faster than their queue drains.
async fn slowly(insert: impl AsyncFn(u64)) {
    for key in 0..ON_DISK {
        insert(key).await;
        if key % 256 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reads all keys once to see that they are there, then one after another again and again.
async fn rounds<T: Deref<Target = String>>(
    read: impl AsyncFn(u64) -> T + 'static,
) -> impl AsyncFn() -> T {
    for key in 0..ON_DISK {
        assert_eq!(*read(key).await, value(key));
    }
    let next = Cell::new(0);
    async move || read(next.replace((next.get() + 1) % ON_DISK)).await
}
