//! The disk tier: what a restart finds, what it never finds, and folders that cannot be used.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tiered_cache::{
    BuildError, Caches, DiskConfig, DiskStatus, Lookup, Policy, TierKind, TieredCache,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    id: u32,
    text: String,
}

fn note(id: u32) -> Note {
    Note {
        id,
        text: format!("note {id} ").repeat(40),
    }
}

async fn open_epoch(folder: &Path, epoch: u64) -> Caches {
    let disk = DiskConfig {
        path: folder.to_owned(),
        capacity_bytes: 32 << 20,
        // Far above what a busy machine needs: these tests are not about time.
        read_timeout: Duration::from_secs(30),
        open_wait: Duration::from_secs(30),
        ..DiskConfig::default()
    };
    let builder = Caches::builder()
        .namespace("disk-tests")
        .epoch(epoch)
        .disk(disk);
    builder.build().await.expect("the folder is usable")
}

async fn open(folder: &Path) -> Caches {
    open_epoch(folder, 0).await
}

fn notes(caches: &Caches) -> TieredCache<u32, Note> {
    caches
        .cache("notes", Policy::default())
        .expect("the policy is sound")
}

/// A folder in which 1 to `count` were kept and which was closed as it should be.
async fn filled(count: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    for id in 1..=count {
        cache.insert(&id, note(id)).await;
    }
    caches.close().await;
    folder
}

async fn tier_of(cache: &TieredCache<u32, Note>, id: u32) -> Option<TierKind> {
    let lookup = cache.get(&id).await;
    if let Some(value) = lookup.value() {
        assert_eq!(**value, note(id), "never a wrong value");
    }
    lookup.tier()
}

#[tokio::test]
async fn a_restart_finds_what_was_kept_and_promotes_it_to_memory() {
    let folder = filled(20).await;
    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    for id in 1..=20 {
        assert_eq!(tier_of(&cache, id).await, Some(TierKind::Disk));
        assert_eq!(tier_of(&cache, id).await, Some(TierKind::Memory));
    }
    assert_eq!(tier_of(&cache, 21).await, None);
    assert_eq!(
        (cache.stats().disk.hits, cache.stats().disk.misses),
        (20, 1)
    );
}

#[tokio::test]
async fn a_loaded_value_is_found_after_a_restart_without_a_load() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = open(folder.path()).await;
    let load = || async { Ok::<_, Infallible>(Some(note(1))) };
    let first = notes(&caches)
        .get_or_load(&1, load)
        .await
        .expect("it loads");
    assert!(matches!(first, Lookup::Loaded { .. }));
    caches.close().await;
    drop(caches);

    let caches = open(folder.path()).await;
    let none = || async { Err::<Option<Note>, _>("not called") };
    let again = notes(&caches)
        .get_or_load(&1, none)
        .await
        .expect("no load is needed");
    assert_eq!(again.tier(), Some(TierKind::Disk));
}

#[tokio::test]
async fn a_removed_or_replaced_value_is_not_served_while_the_disk_still_writes_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let policy = Policy {
        capacity: tiered_cache::Capacity::Entries(1),
        ..Policy::default()
    };
    let caches = open(folder.path()).await;
    let cache: TieredCache<u32, Note> = caches.cache("notes", policy).expect("sound");
    for id in 1..=200 {
        cache.insert(&id, note(id)).await;
        cache.remove(&id).await;
        assert_eq!(tier_of(&cache, id).await, None, "removed just now");
        cache
            .insert(
                &id,
                Note {
                    id,
                    text: "older".to_owned(),
                },
            )
            .await;
        cache.insert(&id, note(id)).await;
        // Pushes it out of memory, so that the disk has to answer; `tier_of` checks the value.
        cache.insert(&(1_000 + id), note(1_000 + id)).await;
        tier_of(&cache, id).await;
    }
    assert!(cache.stats().disk.hits > 100, "{:?}", cache.stats().disk);
}

#[tokio::test]
async fn clear_empties_one_cache_and_a_restart_keeps_it_empty() {
    let folder = filled(5).await;
    let caches = open(folder.path()).await;
    let others: TieredCache<u32, Note> = caches.cache("others", Policy::default()).expect("sound");
    others.insert(&1, note(1)).await;
    notes(&caches).clear().await;
    caches.close().await;
    drop((caches, others));

    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    for id in 1..=5 {
        assert_eq!(tier_of(&cache, id).await, None);
    }
    let others: TieredCache<u32, Note> = caches.cache("others", Policy::default()).expect("sound");
    assert_eq!(tier_of(&others, 1).await, Some(TierKind::Disk));
}

/// Goal: kill -9 undoes no removal. Method: this test runs itself as a child, which removes, says
/// so, and waits to be killed; nothing is closed or dropped.
#[tokio::test]
async fn a_removed_key_stays_removed_after_kill_9() {
    const FOLDER: &str = "TIERED_CACHE_TEST_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let caches = open(Path::new(&folder)).await;
        let cache = notes(&caches);
        assert_eq!(tier_of(&cache, 2).await, Some(TierKind::Disk));
        cache.remove(&2).await;
        cache
            .insert(
                &3,
                Note {
                    id: 3,
                    text: "newer".to_owned(),
                },
            )
            .await;
        cache.remove(&3).await;
        println!("removed");
        return std::future::pending().await;
    }
    let folder = filled(3).await;
    let mut child = Command::new(std::env::current_exe().expect("a test has a path"))
        .args([
            "--exact",
            "disk::a_removed_key_stays_removed_after_kill_9",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let output = BufReader::new(child.stdout.take().expect("it was piped"));
    let said = output
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("removed"));
    child.kill().expect("SIGKILL");
    child.wait().expect("it ends");
    assert!(said, "the child removed the keys");

    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    assert_eq!(
        tier_of(&cache, 1).await,
        Some(TierKind::Disk),
        "the rest is still there"
    );
    assert_eq!(tier_of(&cache, 2).await, None);
    assert_eq!(tier_of(&cache, 3).await, None);
}

#[tokio::test]
async fn a_removed_key_stays_removed_after_the_log_was_shortened() {
    let folder = filled(3).await;
    let caches = open(folder.path()).await;
    let (cache, others) = (
        notes(&caches),
        caches.cache::<u32, u32>("others", Policy::default()),
    );
    let others = others.expect("the policy is sound");
    cache.remove(&2).await;
    for key in 0..200_000 {
        others.remove(&key).await;
    }
    let log = folder.path().join("floors.log");
    let long = 200_000 * RECORD_BYTES as u64;
    // It is shortened in the background, by and by.
    while fs::metadata(&log).expect("it is there").len() >= long {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    caches.close().await;
    drop((caches, cache, others));
    let caches = open(folder.path()).await;
    assert_eq!(tier_of(&notes(&caches), 2).await, None);
    assert_eq!(caches.status().disk, DiskStatus::Ok);
}

#[tokio::test]
async fn a_damaged_or_missing_log_makes_the_old_tier_a_miss_and_never_an_error() {
    let damages: [fn(&Path); 5] = [
        |log| fs::remove_file(log).expect("it is there"),
        |log| fs::write(log, b"").expect("writable"),
        |log| fs::write(log, [0x55; 4_000]).expect("writable"),
        // Half a record at the end.
        |log| {
            let bytes = fs::read(log).expect("readable");
            fs::write(log, &bytes[..bytes.len() - 7]).expect("writable");
        },
        // One bit in the middle.
        |log| {
            let mut bytes = fs::read(log).expect("readable");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            fs::write(log, bytes).expect("writable");
        },
    ];
    for damage in damages {
        let folder = filled(3).await;
        damage(&folder.path().join("floors.log"));
        let caches = open(folder.path()).await;
        let cache = notes(&caches);
        for id in 1..=3 {
            assert_eq!(tier_of(&cache, id).await, None);
        }
        cache.insert(&1, note(1)).await;
        caches.close().await;
        drop((caches, cache));
        let caches = open(folder.path()).await;
        assert_eq!(
            tier_of(&notes(&caches), 1).await,
            Some(TierKind::Disk),
            "it works on"
        );
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_in_a_system_crash_is_not_trusted() {
    let folder = filled(3).await;
    let log = folder.path().join("floors.log");
    let bytes = fs::read(&log).expect("readable");
    // Without the record of closing, the log stands or falls with the run of the system.
    fs::write(&log, &bytes[..bytes.len() - RECORD_BYTES]).expect("writable");
    let caches = open(folder.path()).await;
    let kept = tier_of(&notes(&caches), 1).await;
    caches.close().await;
    drop(caches);
    if Path::new("/proc/sys/kernel/random/boot_id").exists() {
        assert_eq!(
            kept,
            Some(TierKind::Disk),
            "the same run: the page cache has it all"
        );
    } else {
        assert_eq!(kept, None);
    }
}

#[tokio::test]
async fn damaged_or_truncated_blocks_are_misses() {
    type Damage = fn(&mut Vec<u8>);
    // Each with whether anything may be left of the 30.
    let damages: [(Damage, bool); 4] = [
        (|bytes| bytes.fill(0x5a), false),
        (|bytes| bytes.truncate(0), false),
        (|bytes| bytes.truncate(20_000), true),
        (
            |bytes| bytes.chunks_mut(4_999).for_each(|chunk| chunk[0] ^= 0x10),
            true,
        ),
    ];
    for (damage, may_hit) in damages {
        let folder = filled(30).await;
        for file in fs::read_dir(folder.path().join("blocks")).expect("blocks are there") {
            let path = file.expect("readable").path();
            let mut bytes = fs::read(&path).expect("readable");
            damage(&mut bytes);
            fs::write(&path, bytes).expect("writable");
        }
        let caches = open(folder.path()).await;
        let cache = notes(&caches);
        for id in 1..=30 {
            // `tier_of` checks the value: a miss is fine here, a wrong value is not.
            tier_of(&cache, id).await;
        }
        let stats = cache.stats().disk;
        assert!(stats.hits < 30 && (may_hit || stats.hits == 0), "{stats:?}");
        cache.insert(&99, note(99)).await;
        assert_eq!(tier_of(&cache, 99).await, Some(TierKind::Memory));
    }
}

#[tokio::test]
async fn entries_of_another_epoch_are_misses() {
    let folder = filled(3).await;
    let caches = open_epoch(folder.path(), 1).await;
    let cache = notes(&caches);
    assert_eq!(tier_of(&cache, 1).await, None);
    assert_eq!(cache.stats().disk.invalid, 1);
}

#[tokio::test]
async fn entries_of_another_type_schema_or_name_are_misses() {
    let folder = filled(3).await;
    let caches = open(folder.path()).await;
    let other: TieredCache<u32, (u32, String)> =
        caches.cache("notes", Policy::default()).expect("sound");
    assert!(matches!(other.get(&1).await, Lookup::Miss));
    assert_eq!(
        other.stats().disk.invalid,
        1,
        "its fields would have decoded"
    );
    caches.close().await;
    drop((caches, other));

    let caches = open(folder.path()).await;
    let policy = Policy {
        schema: 1,
        ..Policy::default()
    };
    let newer: TieredCache<u32, Note> = caches.cache("notes", policy).expect("sound");
    assert_eq!(tier_of(&newer, 2).await, None);
    let elsewhere: TieredCache<u32, Note> =
        caches.cache("elsewhere", Policy::default()).expect("sound");
    assert_eq!(tier_of(&elsewhere, 2).await, None);
}

#[tokio::test]
async fn values_over_the_limit_are_returned_and_not_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = open(folder.path()).await;
    let policy = Policy {
        max_value_bytes: 1_000,
        ..Policy::default()
    };
    let cache: TieredCache<u32, Note> = caches.cache("notes", policy).expect("sound");
    let large = Note {
        id: 1,
        text: "x".repeat(2_000),
    };
    cache.insert(&1, note(1)).await;
    cache.insert(&1, large.clone()).await;
    assert!(
        matches!(cache.get(&1).await, Lookup::Miss),
        "neither the large one nor the older"
    );
    let load = || async {
        Ok::<_, Infallible>(Some(Note {
            id: 1,
            text: "x".repeat(2_000),
        }))
    };
    let loaded = cache.get_or_load(&1, load).await.expect("it loads");
    assert_eq!(loaded.value().map(|value| &**value), Some(&large));
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    assert_eq!(cache.stats().unkept, 2);
}

#[tokio::test]
async fn keys_too_long_for_the_lower_tiers_live_in_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = open(folder.path()).await;
    let cache: TieredCache<String, Note> = caches.cache("long", Policy::default()).expect("sound");
    let key = "k".repeat(2_000);
    cache.insert(&key, note(1)).await;
    assert_eq!(cache.get(&key).await.tier(), Some(TierKind::Memory));
    cache.remove(&key).await;
    assert!(matches!(cache.get(&key).await, Lookup::Miss));
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("a-file");
    fs::write(&path, b"x").expect("writable");
    let disk = DiskConfig {
        path: path.clone(),
        ..DiskConfig::default()
    };
    let error = Caches::builder()
        .disk(disk)
        .build()
        .await
        .expect_err("it is a file");
    assert!(
        matches!(&error, BuildError::Folder { path: named, .. } if *named == path),
        "{error}"
    );
    assert!(error.to_string().contains("a-file"), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_is_an_error_and_free_again_after_its_user() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let caches = open(folder.path()).await;
    let disk = DiskConfig {
        path: folder.path().into(),
        ..DiskConfig::default()
    };
    let second = Caches::builder().disk(disk).build().await;
    assert!(matches!(second, Err(BuildError::FolderInUse { .. })));
    caches.close().await;
    drop(caches);
    open(folder.path()).await;
}

#[tokio::test]
async fn a_folder_that_goes_away_stops_no_cache_and_brings_nothing_back() {
    let folder = filled(3).await;
    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    fs::remove_dir_all(folder.path()).expect("it is ours");
    cache.remove(&1).await;
    assert_eq!(tier_of(&cache, 1).await, None);
    cache.insert(&2, note(2)).await;
    assert_eq!(tier_of(&cache, 2).await, Some(TierKind::Memory));
    caches.close().await;
    drop((caches, cache));
    let caches = open(folder.path()).await;
    let cache = notes(&caches);
    for id in 1..=3 {
        assert_eq!(
            tier_of(&cache, id).await,
            None,
            "there is no record of before"
        );
    }
}

/// Of one record in `floors.log`.
const RECORD_BYTES: usize = 40;

#[tokio::test]
async fn a_capacity_that_cannot_work_is_refused() {
    let disk = DiskConfig {
        capacity_bytes: 1,
        ..DiskConfig::default()
    };
    let error = Caches::builder()
        .disk(disk)
        .build()
        .await
        .expect_err("far too small");
    assert!(
        error.to_string().contains("disk.capacity_bytes = 1"),
        "{error}"
    );
}
