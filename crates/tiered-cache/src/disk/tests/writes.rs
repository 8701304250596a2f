//! What is kept and what is counted.

use std::{sync::Arc, time::Duration};

use super::{
    super::config::DiskConfig, HOUR, config, fill, insertion, key, open, open_with, put, remove,
    script::Script, settled, value, version,
};
use crate::{
    coherence::{Effect, Version},
    status::DiskStatus,
    tier::{Tier, TierError},
};

#[tokio::test]
async fn what_was_written_is_read_at_once_after_the_flush_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    for number in 0..20 {
        assert!(put(&tier, number, 1).await);
        assert_eq!(version(&tier, number).await, Some(1));
    }
    settled(&tier).await;
    assert_eq!(version(&tier, 3).await, Some(1));
    assert_eq!(version(&tier, 99).await, None);
    assert_eq!(tier.status().0, DiskStatus::Ok);
    tier.close().await;
    assert_eq!(tier.status().0, DiskStatus::Off);
    assert!(matches!(
        tier.read(&key(3)).await,
        Err(TierError::Unavailable)
    ));

    let again = open(folder.path()).await;
    for number in 0..20 {
        assert_eq!(version(&again, number).await, Some(1));
    }
}

/// Goal: no write is lost without being counted. Method: more in a burst than a queue of 1,000 takes,
/// by fills, which never wait.
#[tokio::test]
async fn a_burst_of_fills_is_kept_or_counted_as_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = DiskConfig {
        queue_entries: 1_000,
        ..config(folder.path())
    };
    let tier = open_with(&small, &Script::default()).await;
    let mut taken = 0;
    for number in 0..5_000 {
        taken += u64::from(put(&tier, number, 1).await);
    }
    settled(&tier).await;
    let counts = tier.status().1;
    assert_eq!((counts.written, counts.dropped), (taken, 5_000 - taken));
    assert_eq!(counts.written_bytes, 1_000 * taken);
    assert!(counts.dropped > 0, "the queue takes 1,000 at a time");
    let mut kept = 0;
    for number in 0..5_000 {
        kept += u64::from(version(&tier, number).await.is_some());
    }
    assert_eq!(kept + counts.dropped, 5_000);
}

/// The same burst by insertions, which wait for room: foyer alone keeps 1,536 to 4,096 of them.
#[tokio::test]
async fn with_back_pressure_a_burst_is_kept_whole_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let patient = DiskConfig {
        queue_entries: 100,
        insert_wait: Duration::from_secs(60),
        ..config(folder.path())
    };
    let tier = open_with(&patient, &Script::default()).await;
    for number in 0..5_000 {
        let entry = insertion(value(number, 1, 1_024), 1);
        let kept = tier.write(&key(number), entry, HOUR).await;
        assert!(kept.expect("the tier is open"));
    }
    tier.close().await;
    let counts = tier.status().1;
    assert_eq!((counts.written, counts.dropped), (5_000, 0));
    let tier = open(folder.path()).await;
    for number in 0..5_000 {
        assert_eq!(version(&tier, number).await, Some(1));
    }
}

#[tokio::test]
async fn many_that_wait_for_room_all_get_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let patient = DiskConfig {
        queue_entries: 2,
        insert_wait: Duration::from_secs(60),
        ..config(folder.path())
    };
    let tier = open_with(&patient, &Script::default()).await;
    let writes = (0..200).map(|number| {
        let tier = &tier;
        async move {
            let entry = insertion(value(number, 1, 1_024), 1);
            tier.write(&key(number), entry, HOUR).await
        }
    });
    for kept in futures_util::future::join_all(writes).await {
        assert!(kept.expect("the tier is open"));
    }
    settled(&tier).await;
    assert_eq!(tier.status().1.written, 200);
}

/// The queue is full because the disk is frozen; virtual time passes only while everybody waits.
#[tokio::test(start_paused = true)]
async fn an_insertion_waits_for_room_only_so_long_and_is_then_counted_as_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = DiskConfig {
        queue_entries: 1,
        insert_wait: Duration::from_millis(50),
        ..config(folder.path())
    };
    let script = Script::default();
    let tier = open_with(&small, &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 1).await);
    script.written(1).await;
    assert!(put(&tier, 2, 1).await, "the one place");
    assert!(!put(&tier, 3, 1).await, "a fill does not wait");
    let begun = tokio::time::Instant::now();
    let entry = insertion(value(4, 1, 100), 1);
    let kept = tier.write(&key(4), entry, HOUR).await;
    assert!(!kept.expect("the tier is open"));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let counts = tier.status().1;
    assert_eq!((counts.dropped, counts.queued_entries), (2, 2));
    assert_eq!(counts.queued_bytes, 2_000);
    script.frozen.send_replace(false);
    settled(&tier).await;
    assert_eq!(tier.status().1.written, 2);
}

#[tokio::test]
async fn values_over_the_bound_are_refused_and_counted_and_the_older_one_is_gone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = DiskConfig {
        buffer_bytes: 64 << 10,
        ..config(folder.path())
    };
    let tier = open_with(&small, &Script::default()).await;
    let most = (64 << 10) - 52;
    for (number, length, fits) in [(1, most, true), (2, most + 1, false), (3, 1 << 20, false)] {
        assert!(put(&tier, number, 1).await);
        let entry = fill(value(number, 2, length), 2);
        let kept = tier.write(&key(number), entry, HOUR).await;
        assert_eq!(kept.expect("the tier is open"), fits, "{length} bytes");
        settled(&tier).await;
        assert_eq!(version(&tier, number).await, fits.then_some(2));
    }
    let counts = tier.status().1;
    assert_eq!((counts.refused, counts.dropped), (2, 0));
}

#[tokio::test]
async fn a_later_write_replaces_the_one_that_waits_and_an_older_one_does_not() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Script::default();
    let tier = open_with(&config(folder.path()), &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 5).await);
    script.written(1).await;
    for (of, taken) in [(6, true), (7, true), (4, false)] {
        assert_eq!(put(&tier, 1, of).await, taken);
    }
    assert!(put(&tier, 2, 1).await);
    assert_eq!(version(&tier, 1).await, Some(7));
    script.frozen.send_replace(false);
    settled(&tier).await;
    assert_eq!(version(&tier, 1).await, Some(7));
    assert_eq!(
        tier.status().1.written,
        3,
        "5 was on its way; 6 never left the queue"
    );
}

#[tokio::test]
async fn a_fill_begun_before_a_removal_is_refused_and_an_expiry_leaves_what_is_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tier = open(folder.path()).await;
    assert!(put(&tier, 1, 3).await);
    let expired = tier.invalidate(&key(1), Effect::Expire, Version(4)).await;
    expired.expect("it never fails");
    assert_eq!(version(&tier, 1).await, Some(3), "it may serve as stale");
    remove(&tier, 1, 5).await;
    assert!(!put(&tier, 1, 4).await);
    assert_eq!(version(&tier, 1).await, None);
    assert!(put(&tier, 1, 5).await, "begun after it");
    assert_eq!(version(&tier, 1).await, Some(5));
    let entry = fill(value(1, 6, 100), 6);
    let kept = tier.write(&key(1), entry, Duration::ZERO).await;
    assert!(!kept.expect("the tier is open"), "to be kept for no time");
}

#[tokio::test]
async fn more_than_the_capacity_makes_the_oldest_go_and_loses_no_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let patient = DiskConfig {
        insert_wait: Duration::from_secs(60),
        ..config(folder.path())
    };
    let tier = open_with(&patient, &Script::default()).await;
    // 96 MiB through 32 MiB.
    for number in 0..1_500 {
        let entry = insertion(value(number, 1, 64_000), 1);
        let kept = tier.write(&key(number), entry, HOUR).await;
        assert!(kept.expect("the tier is open"));
    }
    settled(&tier).await;
    let counts = tier.status().1;
    assert_eq!((counts.written, counts.dropped), (1_500, 0));
    assert_eq!(version(&tier, 0).await, None);
    assert_eq!(version(&tier, 1_499).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_insertion_that_waits_while_the_tier_closes_is_not_left_in_its_queue() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let small = DiskConfig {
        queue_entries: 1,
        insert_wait: HOUR,
        ..config(folder.path())
    };
    let script = Script::default();
    let tier = open_with(&small, &script).await;
    script.frozen.send_replace(true);
    assert!(put(&tier, 1, 1).await);
    script.written(1).await;
    assert!(put(&tier, 2, 1).await, "the one place");
    let waiting = tokio::spawn({
        let tier = Arc::clone(&tier);
        async move {
            let entry = insertion(value(3, 1, 100), 1);
            tier.write(&key(3), entry, HOUR).await
        }
    });
    tokio::task::yield_now().await;
    tier.close().await;
    let kept = waiting.await.expect("it does not panic");
    assert!(!matches!(kept, Ok(true)), "{kept:?}");
    assert_eq!(tier.status().1.queued_entries, 0);
}
