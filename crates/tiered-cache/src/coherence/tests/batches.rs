//! Batches beside a transaction, and invalidations by event.

use futures_util::stream;

use super::{
    process::{Process, TAG, remove, settle_down},
    server::{KILLS, Server},
};
use crate::coherence::{Change, Effect, Invalidation, Standing};

fn removing(key: u64) -> Invalidation {
    Invalidation::of(remove(key))
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_before_the_commit_and_then_all_in_one_record() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    let (here, there) = (one.token(), two.token());
    let mut batch = one.invalidations().begin();
    assert!(batch.is_empty());
    batch.push(removing(5));
    batch.push(Invalidation::of(Change::tag(TAG, Effect::Remove)).expire());
    assert_eq!(batch.len(), 2);
    batch.prepare().await.expect("the server is there");
    assert_eq!(one.standing(5, here), Standing::Valid);
    assert_eq!(server.held().intents.len(), 1);
    batch.commit().await;
    assert_eq!(one.standing(5, here), Standing::Removed);
    settle_down().await;
    assert_eq!(two.standing(5, there), Standing::Removed);
    assert_eq!(two.standing(6, there), Standing::Expired);
    let held = server.held();
    assert_eq!((held.records.len(), held.intents.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_invalidates_nothing() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let here = one.token();
    let mut batch = one.invalidations().begin();
    batch.push(removing(5));
    batch.prepare().await.expect("the server is there");
    batch.rollback().await;
    settle_down().await;
    assert_eq!(one.standing(5, here), Standing::Valid);
    assert!(server.held().records.is_empty() && server.held().intents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_batch_invalidates_prepared_or_not() {
    for prepared in [false, true] {
        let server = Server::start();
        let (one, two) = Process::two(&server, None).await;
        let (here, there) = (one.token(), two.token());
        let mut batch = one.invalidations().begin();
        batch.push(removing(5));
        if prepared {
            batch.prepare().await.expect("the server is there");
        }
        drop(batch);
        assert_eq!(one.standing(5, here), Standing::Removed);
        settle_down().await;
        assert_eq!(two.standing(5, there), Standing::Removed);
        assert!(server.held().intents.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_batch_that_is_dropped_does_nothing() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    drop(one.invalidations().begin());
    one.invalidations().begin().commit().await;
    settle_down().await;
    assert!(server.held().records.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prepare_without_an_answer_is_an_error_and_the_commit_still_counts() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    let there = two.token();
    let mut batch = one.invalidations().begin();
    batch.push(removing(5));
    server.held().away = true;
    let error = batch.prepare().await.expect_err("the server is away");
    assert!(error.to_string().contains("commit without"), "{error}");
    batch.commit().await;
    server.held().away = false;
    settle_down().await;
    assert_eq!(two.standing(5, there), Standing::Removed);
}

/// Goal: the death of a process between the commit elsewhere and its invalidations is noticed by the
/// others within the stated bound.
#[tokio::test(start_paused = true)]
async fn another_replica_carries_out_the_intent_of_one_that_died() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    let there = two.token();
    let mut batch = one.invalidations().begin();
    batch.push(removing(5));
    batch.prepare().await.expect("the server is there");
    // The process with its memory is gone; the batch is never dropped.
    std::mem::forget(batch);
    one.kill();
    tokio::time::sleep(std::time::Duration::from_secs(9)).await;
    assert_eq!(two.standing(5, there), Standing::Valid);
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert_eq!(two.standing(5, there), Standing::Removed);
    assert!(
        server.held().slots.contains_key("key 5"),
        "with the name of its key"
    );
    assert!(server.held().intents.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_folder_remembers_a_prepared_batch_with_a_log_and_without() {
    for with_log in [false, true] {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let start = |instance| match with_log {
            true => Process::start(&server, instance, Some(folder.path())),
            false => Process::alone(Some(folder.path())),
        };
        let one = start(1);
        if with_log {
            one.until_ready().await;
        }
        let here = one.token();
        let mut batch = one.invalidations().begin();
        batch.push(removing(5));
        batch.prepare().await.expect("the server is there");
        std::mem::forget(batch);
        one.kill();
        let one = start(2);
        assert_eq!(
            one.standing(5, here),
            Standing::Removed,
            "before anything is served"
        );
        assert_eq!(one.standing(6, here), Standing::Valid);
        settle_down().await;
        one.kill();
        let later = start(3);
        let filled = later.token();
        later.kill();
        let last = start(4);
        assert_eq!(
            last.standing(5, filled),
            Standing::Valid,
            "it was carried out once"
        );
        assert_eq!(last.standing(5, here), Standing::Removed, "for good");
    }
}

/// Goal: killed at any call of prepare and commit, a batch that may have committed invalidates.
#[tokio::test(start_paused = true)]
async fn a_batch_that_may_have_committed_invalidates_wherever_its_process_is_killed() {
    for (kill, at) in KILLS
        .into_iter()
        .flat_map(|kill| (0..6).map(move |at| (kill, at)))
    {
        let server = Server::start();
        let (one, two) = Process::two(&server, None).await;
        let there = two.token();
        let mut batch = one.invalidations().begin();
        batch.push(removing(5));
        batch.prepare().await.expect("the server is there");
        server.fail(at, kill);
        let mut commit = Box::pin(batch.commit());
        let finished = tokio::select! {
            biased;
            () = server.stuck.notified() => false,
            () = &mut commit => true,
        };
        // Killed: no drop runs.
        std::mem::forget(commit);
        one.kill();
        if finished && !server.failed() {
            assert!(
                at > 2,
                "one for the log, one for the slot, one for the intent"
            );
            continue;
        }
        settle_down().await;
        two.until_ready().await;
        assert_eq!(
            two.standing(5, there),
            Standing::Removed,
            "{kill:?} at {at}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn events_become_invalidations_in_few_records() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    let here = one.token();
    let events = stream::iter(0..600_u64);
    let follow = one.invalidations();
    follow
        .follow(events, |event| (event % 2 == 0).then(|| removing(event)))
        .await;
    assert_eq!(one.standing(598, here), Standing::Removed);
    assert_eq!(server.held().slots.len(), 300);
    assert_eq!(server.held().records.len(), 3, "256 events at once");
    follow.apply([]).await;
    assert_eq!(server.held().records.len(), 3);
}

/// Goal: a transaction that commits after its batch was dropped (a request that was cancelled while it
/// waited for the database) leaves no old value behind for longer than the stated bound.
#[tokio::test(start_paused = true)]
async fn a_dropped_batch_invalidates_again_what_was_filled_before_its_transaction_committed() {
    for (with_log, prepared) in [(true, true), (true, false), (false, true), (false, false)] {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let start = |instance| match with_log {
            true => Process::start(&server, instance, Some(folder.path())),
            false => Process::alone(Some(folder.path())),
        };
        let one = start(1);
        let two = Process::start(&server, 2, None);
        two.until_ready().await;
        if with_log {
            one.until_ready().await;
        }
        let mut batch = one.invalidations().begin();
        batch.push(removing(5));
        if prepared {
            batch.prepare().await.expect("the server is there");
        }
        drop(batch);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let (here, there) = (one.token(), two.token());
        assert_eq!(one.standing(5, here), Standing::Valid);
        tokio::time::sleep(std::time::Duration::from_secs(14)).await;
        assert_eq!(
            one.standing(5, here),
            Standing::Removed,
            "{with_log} {prepared}"
        );
        if with_log {
            assert_eq!(two.standing(5, there), Standing::Removed, "{prepared}");
        }
        settle_down().await;
        assert!(server.held().intents.is_empty());
        let last = one.token();
        one.kill();
        let one = start(3);
        assert_eq!(one.standing(5, last), Standing::Valid, "and then no more");
    }
}
