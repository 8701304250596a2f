//! A disk that is full, slow, gone, damaged or taken: misses with a visible state, and it heals.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    super::{
        config::DiskConfig,
        folder::Folder,
        tier::DiskTier,
        writer::{GIVEN_UP_AFTER, HEAL_FIRST, STALLED_AFTER},
    },
    config, key, open, open_with, put, remove,
    script::{Loads, Script},
    settled, version,
};
use crate::{
    error::BuildError,
    status::DiskStatus,
    tier::{CLOSE_WITHIN, Tier, TierError},
};

async fn until(tier: &DiskTier, expected: impl Fn(&DiskStatus) -> bool) {
    while !expected(&tier.status().0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn failing(status: &DiskStatus) -> bool {
    matches!(status, DiskStatus::Failing { .. })
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_no_writes_is_read_on_and_used_again_when_it_takes_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    for number in [1, 2] {
        assert!(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    script.losing.store(true, Ordering::Relaxed);
    assert!(put(&tier, 3, 1).await);
    until(&tier, failing).await;
    assert!(!put(&tier, 2, 2).await);
    assert_eq!(tier.status().1.dropped, 2);
    assert_eq!(version(&tier, 1).await, Some(1), "read on");
    assert_eq!(version(&tier, 2).await, None, "not the older one");
    let text = tier.status().0.to_string();
    assert!(text.contains("did not keep"), "{text}");

    // It seems to work, until the next write is lost.
    tokio::time::sleep(2 * HEAL_FIRST).await;
    until(&tier, |status| *status == DiskStatus::Ok).await;
    assert!(put(&tier, 4, 1).await);
    until(&tier, failing).await;

    script.losing.store(false, Ordering::Relaxed);
    until(&tier, |status| *status == DiskStatus::Ok).await;
    assert!(put(&tier, 5, 1).await);
    settled(&tier).await;
    for (number, expected) in [(1, Some(1)), (2, None), (3, None), (5, Some(1))] {
        assert_eq!(version(&tier, number).await, expected);
    }
    assert_eq!(script.opened.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_not_asked_until_it_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    for number in [1, 2] {
        assert!(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 3, 1).await);
    script.written(3).await;
    assert!(put(&tier, 4, 1).await);
    tokio::time::sleep(STALLED_AFTER).await;
    until(&tier, failing).await;
    let text = tier.status().0.to_string();
    assert!(text.contains("no answer"), "{text}");
    assert!(matches!(
        tier.read(&key(1)).await,
        Err(TierError::Unavailable)
    ));
    remove(&tier, 2, 2).await;
    assert!(!put(&tier, 5, 1).await);
    assert_eq!(tier.status().1.dropped, 2, "the one that waited, and this");

    script.frozen.send_replace(false);
    until(&tier, |status| *status == DiskStatus::Ok).await;
    for (number, expected) in [(1, Some(1)), (2, None), (4, None), (5, None)] {
        assert_eq!(version(&tier, number).await, expected);
    }
    let counts = tier.status().1;
    assert_eq!((counts.written, counts.dropped), (3, 2), "3 came through");
    assert!(put(&tier, 6, 1).await);
    settled(&tier).await;
    assert_eq!(version(&tier, 6).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_never_answers_is_given_up_and_opened_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 1).await);
    script.written(1).await;
    tokio::time::sleep(STALLED_AFTER + GIVEN_UP_AFTER).await;
    until(&tier, |status| *status == DiskStatus::Ok).await;
    let counts = tier.status().1;
    assert_eq!((counts.dropped, counts.queued_entries), (1, 0));
    assert_eq!(script.opened.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_close_of_a_disk_that_does_not_answer_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    script.frozen.send_replace(true);
    for number in 0..3 {
        assert!(put(&tier, number, 1).await);
    }
    let begun = tokio::time::Instant::now();
    tier.close().await;
    assert!(begun.elapsed() < CLOSE_WITHIN, "before its closer gives up");
    let (status, counts) = tier.status();
    assert_eq!(status, DiskStatus::Off);
    assert_eq!((counts.written, counts.dropped), (0, 3));
    tier.close().await;
    open(folder.path()).await;
}

#[tokio::test(start_paused = true)]
async fn waits_without_end_have_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let endless = DiskConfig {
        read_timeout: Duration::MAX,
        insert_wait: Duration::MAX,
        open_wait: Duration::MAX,
        ..config(folder.path())
    };
    let tier = open_with(&endless, &Script::default()).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_at_its_deadline_and_hanging_ones_are_bounded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let quick = DiskConfig {
        read_timeout: Duration::from_millis(250),
        ..config(folder.path())
    };
    let script = Script::default();
    let tier = open_with(&quick, &script).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    script.loads.send_replace(Loads::Hanging);
    for _ in 0..100 {
        let key = key(1);
        let begun = tokio::time::Instant::now();
        let read = tier.read(&key).await;
        assert!(matches!(read, Err(TierError::TimedOut)));
        assert!(begun.elapsed() < Duration::from_millis(300));
    }
    let hanging = script.loads.receiver_count();
    assert_eq!(hanging, 48, "no more threads than that hang");
    script.loads.send_replace(Loads::Plain);
    assert_eq!(version(&tier, 1).await, Some(1));
}

#[tokio::test]
async fn an_error_of_the_system_is_an_error_of_the_tier_and_deletes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    script.loads.send_replace(Loads::Broken);
    let key = key(1);
    let read = tier.read(&key).await;
    assert!(matches!(read, Err(TierError::Failed(_))), "{read:?}");
    script.loads.send_replace(Loads::Plain);
    assert_eq!(version(&tier, 1).await, Some(1));
    assert_eq!(tier.status().1.damaged, 0);
}

/// Changes the files of the blocks under the open tier.
fn damage(folder: &Path, change: impl Fn(usize, &Path)) {
    let blocks = fs::read_dir(folder.join("blocks")).expect("blocks are there");
    for (number, file) in blocks.enumerate() {
        change(number, &file.expect("readable").path());
    }
}

/// Reads all: the right value, a miss or an error; whatever the disk gives.
async fn sound(tier: &DiskTier, count: u64) -> u64 {
    let mut hits = 0;
    for number in 0..count {
        let key = key(number);
        if tier.read(&key).await.is_ok_and(|found| found.is_some()) {
            assert_eq!(version(tier, number).await, Some(1));
            hits += 1;
        }
    }
    hits
}

#[tokio::test]
async fn bytes_flipped_anywhere_are_misses_while_open_and_after_a_restart() {
    const COUNT: u64 = 200;
    let chance = crate::chance::Chance::seeded(7);
    for round in 0..8 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tier = open(folder.path()).await;
        for number in 0..COUNT {
            assert!(put(&tier, number, 1).await);
        }
        settled(&tier).await;
        // 800 KiB were written, with indices; the rest of each file is empty.
        damage(folder.path(), |_, path| {
            let mut bytes = fs::read(path).expect("readable");
            for _ in 0..1 << round {
                let at = usize::try_from(chance.draw() % (900 << 10)).expect("it is small");
                bytes[at] ^= 1 << (chance.draw() % 8);
            }
            fs::write(path, bytes).expect("writable");
        });
        sound(&tier, COUNT).await;
        tier.close().await;
        drop(tier);
        let tier = open(folder.path()).await;
        sound(&tier, COUNT).await;
        assert!(put(&tier, COUNT, 1).await, "it works on");
        settled(&tier).await;
        assert_eq!(version(&tier, COUNT).await, Some(1));
    }
}

#[tokio::test]
async fn files_cut_short_while_open_are_misses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    for number in 0..100 {
        assert!(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    damage(folder.path(), |_, path| {
        let file = fs::OpenOptions::new().write(true).open(path);
        let file = file.expect("writable");
        file.set_len(100 << 10).expect("writable");
    });
    let hits = sound(&tier, 100).await;
    assert!((1..100).contains(&hits), "{hits} were before the cut");
    assert_eq!(tier.status().1.damaged, 100 - hits);
    assert_eq!(tier.status().0, DiskStatus::Ok);
    assert!(put(&tier, 1, 2).await);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, Some(2));
}

#[tokio::test]
async fn a_folder_deleted_while_open_costs_the_next_start_its_entries_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cache");
    let tier = open(&path).await;
    assert!(put(&tier, 1, 1).await);
    settled(&tier).await;
    fs::remove_dir_all(&path).expect("it is ours");
    assert_eq!(
        version(&tier, 1).await,
        Some(1),
        "the open file is still there"
    );
    assert!(put(&tier, 2, 1).await);
    settled(&tier).await;
    assert_eq!(version(&tier, 2).await, Some(1));
    tier.close().await;
    drop(tier);
    let tier = open(&path).await;
    assert_eq!(version(&tier, 1).await, None);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_after_close_although_the_tier_is_still_held() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    let second = Folder::take(folder.path()).await;
    assert!(matches!(second, Err(BuildError::FolderInUse { .. })));
    tier.close().await;
    Folder::take(folder.path()).await.expect("it is free again");
}

#[tokio::test]
async fn folders_that_cannot_be_written_or_opened_are_typed_errors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, b"x").expect("writable");
    let taken = Folder::take(&file.join("below")).await;
    assert!(matches!(taken, Err(BuildError::Folder { .. })));

    let path = folder.path().join("cache");
    fs::create_dir(&path).expect("writable");
    // As a folder looks in which nothing may be made: the blocks can neither be deleted nor opened.
    fs::write(path.join("blocks"), b"x").expect("writable");
    let taken = Folder::take(&path).await.expect("it can be locked");
    let opened = DiskTier::open(taken, &config(&path), true).await;
    assert!(
        matches!(opened, Err(BuildError::Folder { .. })),
        "{opened:?}"
    );
}

#[tokio::test]
async fn another_layout_begins_empty_and_another_capacity_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = config(folder.path());
    let changed = |capacity: u64, block: u64| DiskConfig {
        capacity_bytes: capacity << 20,
        block_bytes: block << 20,
        ..plain.clone()
    };
    let starts = [
        (changed(32, 4), 0),
        (changed(64, 4), 20),
        (changed(16, 4), 20),
        (changed(32, 2), 0),
    ];
    for (config, expected) in starts {
        let tier = open_with(&config, &Script::default()).await;
        assert_eq!(sound(&tier, 20).await, expected);
        for number in 0..20 {
            assert!(put(&tier, number, 1).await);
        }
        tier.close().await;
        let files = fs::read_dir(folder.path().join("blocks")).expect("blocks are there");
        let blocks = config.capacity_bytes / config.block_bytes;
        assert_eq!(files.count() as u64, blocks);
    }
}

#[test]
fn a_tier_whose_runtime_has_ended_says_so_and_hangs_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all();
        builder.build().expect("threads can be started")
    };
    let first = runtime();
    let tier = first.block_on(async {
        let tier = open(folder.path()).await;
        assert!(put(&tier, 1, 1).await);
        settled(&tier).await;
        tier
    });
    drop(first);
    runtime().block_on(async {
        let key = key(1);
        assert!(matches!(tier.read(&key).await, Err(TierError::Unavailable)));
        remove(&tier, 1, 2).await;
        let text = tier.status().0.to_string();
        assert!(text.contains("runtime"), "{text}");
        tier.close().await;
        drop(tier);
        open(folder.path()).await;
    });
}

#[tokio::test]
async fn a_folder_opened_in_the_background_takes_writes_and_serves_when_it_is_ready() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    assert!(put(&tier, 1, 1).await);
    assert!(put(&tier, 2, 1).await);
    tier.close().await;
    let hasty = DiskConfig {
        open_wait: Duration::ZERO,
        ..config(folder.path())
    };
    let script = Script::default();
    script.shut.send_replace(true);
    let tier = open_with(&hasty, &script).await;
    assert_eq!(tier.status().0, DiskStatus::Opening);
    let key = key(1);
    assert!(matches!(tier.read(&key).await, Err(TierError::Unavailable)));
    assert!(put(&tier, 3, 1).await);
    remove(&tier, 2, 2).await;
    script.shut.send_replace(false);
    until(&tier, |status| *status == DiskStatus::Ok).await;
    for (number, expected) in [(1, Some(1)), (2, None), (3, Some(1))] {
        assert_eq!(version(&tier, number).await, expected);
    }
}

#[tokio::test]
async fn a_tier_that_is_dropped_ends_its_task_and_frees_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    assert!(put(&tier, 1, 1).await);
    let before = Arc::strong_count(&tier);
    drop(tier);
    assert_eq!(before, 1, "the writer does not hold the tier");
    while Folder::take(folder.path()).await.is_err() {
        tokio::task::yield_now().await;
    }
}
