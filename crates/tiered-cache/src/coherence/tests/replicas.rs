//! What an invalidation does here and elsewhere when nothing fails.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    process::{CACHE, Process, TAG, remove, settle_down},
    server::Server,
};
use crate::coherence::{Change, Effect, Standing, Target};

#[tokio::test(start_paused = true)]
async fn without_a_log_an_invalidation_counts_here_at_once() {
    let process = Process::alone(None);
    let token = process.token();
    let ticket = process.ledger.announce(&[remove(1), remove(2)]);
    assert_eq!(process.standing(1, token), Standing::Removed);
    assert_eq!(process.standing(3, token), Standing::Valid);
    assert_eq!(ticket.number(1), ticket.number(0) + 1);
    assert_eq!(process.ledger.settle(ticket).await, None);
    assert!(!process.ledger.blocks(CACHE, 1, &[]));
    assert!(!process.ledger.shared_ready(), "there is nothing shared");
    assert_eq!(process.ledger.served_until(0), u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_reaches_the_other_replica_by_every_kind_of_target() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    let changes = [
        remove(5),
        Change::tag(TAG, Effect::Remove),
        Change::cache(CACHE, Effect::Remove),
        Change::all(Effect::Remove),
    ];
    for change in changes {
        let token = two.token();
        assert!(one.invalidate(change).await);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(two.standing(5, token), Standing::Removed);
        assert_eq!(two.shared_standing(5, token), Standing::Removed);
        assert_eq!(two.standing(5, two.token()), Standing::Valid);
    }
    let token = two.token();
    assert!(one.invalidate(Change::tag(TAG, Effect::Expire)).await);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(two.standing(5, token), Standing::Expired);
}

#[tokio::test(start_paused = true)]
async fn shared_tiers_are_blocked_from_the_announcement_until_they_have_confirmed() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let before = one.token();
    let ticket = one.ledger.announce(&[remove(5)]);
    assert!(one.ledger.blocks(CACHE, 5, &[]));
    assert!(!one.ledger.blocks(CACHE, 6, &[]));
    let version = one.ledger.settle(ticket).await.expect("appended");
    assert!(!one.ledger.blocks(CACHE, 5, &[]));
    assert_eq!(server.held().slots["key 5"], (Effect::Remove, version));
    // Before the record comes back: older entries are known to be old, and fills do not yet claim
    // to know what others wrote before.
    assert_eq!(one.shared_standing(5, before), Standing::Removed);
    assert!(one.token().shared < version);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(one.token().shared, version);
}

#[tokio::test(start_paused = true)]
async fn an_own_record_that_comes_back_takes_nothing_that_was_filled_since() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let ticket = one.ledger.announce(&[remove(5)]);
    let filled = one.token();
    let inserted = ticket.number(0);
    one.ledger.settle(ticket).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(one.standing(5, filled), Standing::Valid);
    assert_eq!(filled.local, inserted, "an insertion's own number");
}

#[tokio::test(start_paused = true)]
async fn an_insertion_writes_its_own_version_instead_of_a_tombstone() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let ticket = one.ledger.announce(&[remove(5)]);
    let mut written = None;
    let settled = one.ledger.settle_with(ticket, |version| {
        written = Some(version);
        std::future::ready(true)
    });
    assert_eq!(settled.await, written);
    assert!(written.is_some() && server.held().slots.is_empty());

    let ticket = one.ledger.announce(&[remove(5)]);
    one.ledger
        .settle_with(ticket, |_| std::future::ready(false))
        .await;
    assert!(
        server.held().slots.contains_key("key 5"),
        "what was not written is invalidated"
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_stays_blocked_and_is_sent_when_the_server_is_back() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    server.held().away = true;
    let token = two.token();
    assert!(!one.invalidate(remove(5)).await);
    assert!(one.ledger.blocks(CACHE, 5, &[]));
    settle_down().await;
    assert!(one.ledger.blocks(CACHE, 5, &[]));
    let status = one.ledger.log_status().expect("there is a log");
    assert!(
        status
            .silent_for
            .is_some_and(|silent| silent > Duration::from_secs(50))
    );
    assert_eq!(status.pending, 1);
    let asked = tokio::time::Instant::now();
    assert!(!one.invalidate(remove(6)).await);
    assert!(asked.elapsed().is_zero(), "nobody waits for a silent log");
    server.held().away = false;
    sleep(Duration::from_secs(8)).await;
    assert!(!one.ledger.blocks(CACHE, 5, &[]) && !one.ledger.blocks(CACHE, 6, &[]));
    assert_eq!(two.standing(5, token), Standing::Removed);
    assert_eq!(two.ledger.log_status().expect("a log").silent_for, None);
}

#[tokio::test(start_paused = true)]
async fn too_many_to_remember_become_their_cache() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    server.held().away = true;
    for key in 0..20 {
        assert!(!one.invalidate(remove(key)).await);
    }
    assert!(
        one.ledger
            .log_status()
            .is_some_and(|status| status.pending <= 9)
    );
    assert!(one.ledger.blocks(CACHE, 999, &[]), "any key of the cache");
    let token = two.token();
    server.held().away = false;
    settle_down().await;
    one.until_ready().await;
    assert_eq!(two.standing(999, token), Standing::Removed);
    let last = server.held().records.len();
    assert!(last < 20, "{last} records");
}

#[tokio::test(start_paused = true)]
async fn a_long_batch_is_split_and_settles_as_one() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let many: Vec<_> = (0..1_200).map(remove).collect();
    let version = one.ledger.settle(one.ledger.announce(&many)).await;
    let lengths: Vec<_> = {
        let held = server.held();
        assert_eq!(version, Some(held.records[0].version), "the lowest of them");
        assert_eq!(held.slots.len(), 1_200);
        held.records
            .iter()
            .map(|record| record.changes.len())
            .collect()
    };
    assert_eq!(lengths, [512, 512, 176]);
    assert!(!one.ledger.blocks(CACHE, 1_199, &[]));
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_is_pending_and_returns_in_time_when_it_cannot() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    drop(one.ledger.announce(&[remove(5)]));
    one.ledger.close(Duration::from_secs(2)).await;
    assert!(!one.ledger.blocks(CACHE, 5, &[]));
    assert_eq!(
        server.held().records[0].changes,
        [(Target::Key(5), Effect::Remove)]
    );

    let two = Process::start(&server, 2, None);
    two.until_ready().await;
    server.held().away = true;
    drop(two.ledger.announce(&[remove(6)]));
    let begun = tokio::time::Instant::now();
    two.ledger.close(Duration::from_secs(2)).await;
    assert!(begun.elapsed() <= Duration::from_secs(2) && two.ledger.blocks(CACHE, 6, &[]));
}

#[tokio::test(start_paused = true)]
async fn the_background_task_ends_with_the_ledger() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let ledger = std::sync::Arc::downgrade(&one.ledger);
    let task = one.release();
    task.await.expect("no panic");
    assert!(ledger.upgrade().is_none());
}
