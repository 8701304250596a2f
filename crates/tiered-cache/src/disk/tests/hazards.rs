//! What foyer does with deleted, dropped and damaged entries, and that none of it is seen above. Where
//! foyer's own answer can be shown, the test shows it first: should that change, it says so.

use std::{fs, path::Path, sync::atomic::Ordering};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, Load,
};

use super::{
    super::{config::DiskConfig, engine::Loaded, folder::Folder, tier::DiskTier},
    HOUR, config, fill, key, open, open_with, put, remove,
    script::{Loads, Script},
    settled, value, version,
};
use crate::tier::Tier;

#[tokio::test]
async fn a_get_after_a_remove_never_returns_the_removed_value_although_foyer_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 1).await);
    script.written(1).await;
    remove(&tier, 1, 2).await;
    let foyer = tier.engine().load(key(1).hash).await;
    assert!(matches!(foyer, Loaded::Found(_)), "foyer hands it out");
    assert_eq!(version(&tier, 1).await, None);
    script.frozen.send_replace(false);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, None);
    let foyer = tier.engine().load(key(1).hash).await;
    assert!(matches!(foyer, Loaded::Absent), "deleted behind the flush");
    assert_eq!(tier.status().1.written, 0);
}

#[tokio::test]
async fn a_removal_takes_the_queued_write_away_and_a_later_fill_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 1).await);
    script.written(1).await;
    assert!(put(&tier, 2, 1).await, "it waits");
    for number in [1, 2] {
        remove(&tier, number, 2).await;
        assert_eq!(version(&tier, number).await, None);
    }
    assert!(put(&tier, 1, 2).await, "begun after the removal");
    assert_eq!(version(&tier, 1).await, Some(2));
    script.frozen.send_replace(false);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, Some(2));
    assert_eq!(version(&tier, 2).await, None);
    assert_eq!(tier.status().1.written, 1);
}

/// A cache of foyer's alone, with a buffer of 64 KiB.
async fn foyer_alone(path: &Path) -> HybridCache<u64, Bytes> {
    let device = FsDeviceBuilder::new(path).with_capacity(32 << 20).build();
    let engine = BlockEngineConfig::new(device.expect("a usable folder"))
        .with_block_size(4 << 20)
        .with_buffer_pool_size(64 << 10);
    let cache = HybridCacheBuilder::new()
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .memory(1)
        .storage()
        .with_engine_config(engine);
    cache.build().await.expect("a usable folder")
}

async fn length(cache: &HybridCache<u64, Bytes>) -> Option<usize> {
    match cache.storage().load(&1).await.expect("it is whole") {
        Load::Entry { value, .. } => Some(value.len()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_newer_version_does_not_bring_the_older_one_back_although_foyer_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let foyer = foyer_alone(&folder.path().join("foyer")).await;
    for bytes in [100, 100_000] {
        foyer.insert(1, vec![0; bytes].into());
        foyer.storage().wait().await;
    }
    assert_eq!(
        length(&foyer).await,
        Some(100),
        "foyer serves the older one"
    );
    foyer.close().await.expect("it closes");

    // The tier believes in its 4 MiB, foyer gets 64 KiB: as if its bound were not what we think.
    let script = Script::default();
    *script.buffer.lock().expect("no test panicked") = Some(64 << 10);
    let tier = open_with(&config(&folder.path().join("tier")), &script).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, Some(1));
    let entry = fill(value(1, 2, 100_000), 2);
    let taken = tier.write(&key(1), entry, HOUR).await;
    assert!(taken.expect("the tier is open"));
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, None);
    let counts = tier.status().1;
    assert_eq!((counts.written, counts.dropped), (1, 1));
}

#[tokio::test]
async fn a_newer_version_that_finds_no_room_does_not_leave_the_older_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = DiskConfig {
        queue_entries: 1,
        ..config(folder.path())
    };
    let script = Script::default();
    let tier = open_with(&small, &script).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 2, 1).await);
    script.written(2).await;
    assert!(put(&tier, 3, 1).await, "the one place");
    assert!(!put(&tier, 1, 2).await, "no room");
    assert_eq!(version(&tier, 1).await, None);
    script.frozen.send_replace(false);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, None);
}

/// foyer does not write an entry again that it has just read from a young block, and keeps the older
/// one when the newer is for memory only.
#[tokio::test]
async fn an_entry_that_was_just_read_can_be_replaced_on_the_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    for of in 1..=3 {
        assert!(put(&tier, 1, of).await);
        settled(&tier).await;
        assert_eq!(version(&tier, 1).await, Some(of));
    }
    tier.close().await;
    assert_eq!(version(&*open(folder.path()).await, 1).await, Some(3));
}

/// Goal: the deletion that foyer forgets is not the tier's to remember, but the folder begins empty
/// where nobody else does. Method: a removed key, then a start with and without a trusted log.
#[tokio::test]
async fn a_restart_without_a_trusted_log_begins_empty_where_foyer_brings_removed_keys_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    for number in [1, 2] {
        assert!(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    remove(&tier, 1, 2).await;
    tier.close().await;

    let tier = open(folder.path()).await;
    assert_eq!(
        version(&tier, 1).await,
        Some(1),
        "its version is under the floor of the removal, which the log gives back"
    );
    tier.close().await;

    let config = config(folder.path());
    let taken = Folder::take(folder.path()).await.expect("it is free");
    let tier = DiskTier::open(taken, &config, false).await;
    let tier = tier.expect("a usable folder");
    for number in [1, 2] {
        assert_eq!(version(&tier, number).await, None);
    }
}

/// Goal: bytes that foyer reads but cannot decode, an error on each of its reads, are a miss. Method:
/// the parts of its header that its own checksum leaves out, changed in the file.
#[tokio::test]
async fn undecodable_bytes_are_a_miss_on_every_get() {
    type Damage = fn(&mut [u8]);
    let damages: [Damage; 4] = [
        // Compressed by zstd, by lz4, and by nothing that there is.
        |header| header[35] = 1,
        |header| header[35] = 2,
        |header| header[35] = 9,
        // A key one byte longer, a value one byte shorter: the same bytes in all.
        |header| {
            header[3] += 1;
            header[7] -= 1;
        },
    ];
    for damage in damages {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tier = open(folder.path()).await;
        assert!(put(&tier, 1, 1).await);
        tier.close().await;
        drop(tier);
        let mut damaged = 0;
        for file in fs::read_dir(folder.path().join("blocks")).expect("blocks are there") {
            let path = file.expect("readable").path();
            let mut bytes = fs::read(&path).expect("readable");
            for page in bytes.chunks_mut(4_096) {
                if page[32..36] == [0x97, 0x03, 0x27, 0x00] {
                    damage(page);
                    damaged += 1;
                }
            }
            fs::write(&path, bytes).expect("writable");
        }
        assert_eq!(damaged, 1, "foyer's header is where it was");
        let tier = open(folder.path()).await;
        for _ in 0..3 {
            assert_eq!(version(&tier, 1).await, None);
        }
        assert!(put(&tier, 1, 2).await);
        settled(&tier).await;
        assert_eq!(version(&tier, 1).await, Some(2));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_deleted_and_counted_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    for (number, fault) in [(1, Loads::Undecodable), (2, Loads::Panicking)] {
        assert!(put(&tier, number, 1).await);
        settled(&tier).await;
        script.loads.send_replace(fault);
        assert_eq!(version(&tier, number).await, None);
        script.loads.send_replace(Loads::Plain);
        assert_eq!(version(&tier, number).await, None, "not asked for again");
        assert_eq!(tier.status().1.damaged, number);
    }
    assert_eq!(script.opened.load(Ordering::Relaxed), 1);
}

/// foyer's `clear` and `remove` leave reads in flight alone, which then put back what they read.
#[tokio::test]
async fn what_is_read_while_it_is_removed_is_a_miss_and_is_not_put_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    for number in 0..3 {
        assert!(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    script.loads.send_replace(Loads::Hanging);
    let all = futures_util::future::join_all((0..3).map(|number| version(&tier, number)));
    let removed = async {
        for number in 0..2 {
            tokio::task::yield_now().await;
            remove(&tier, number, 2).await;
        }
        script.loads.send_replace(Loads::Plain);
    };
    let (all, ()) = tokio::join!(all, removed);
    assert_eq!(all, [None, None, Some(1)]);
    for (number, expected) in [(0, None), (1, None), (2, Some(1))] {
        assert_eq!(version(&tier, number).await, expected);
    }
}
