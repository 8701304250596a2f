//! What a hit in the disk tier costs, beside foyer used alone.

use std::cell::Cell;
use std::ops::Deref;
use std::path::Path;

use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, PsyncIoEngineConfig, Source,
};
use harness::Suite;
use std::time::Duration;
use tiered_cache::{Caches, DiskConfig, TierKind, TieredCache};

use crate::data::{policy, value};

/// Many more than fit the 256 KiB of memory that foyer keeps before its disk. Read round and round, all come from disk.
const ON_DISK: u64 = 4_096;
const DISK_BYTES: usize = 64 << 20;

pub(crate) fn add(suite: &mut Suite) {
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
