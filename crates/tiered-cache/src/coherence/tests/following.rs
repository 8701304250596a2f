//! Gaps of the log, silence, and processes that come later or come back.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    process::{CACHE, Process, TAG, remove, settle_down},
    server::{KILLS, Server},
};
use crate::coherence::{Change, Effect, Standing};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[tokio::test(start_paused = true)]
async fn a_gap_gives_up_all_entries_and_begins_a_new_epoch_for_the_shared_ones() {
    type Break = fn(&Server);
    let breaks: [(&str, Break, bool); 4] = [
        (
            "failover that lost records",
            |server| server.fail_over(1),
            true,
        ),
        (
            "restart that lost nothing",
            |server| server.fail_over(0),
            true,
        ),
        ("flush", Server::flush, true),
        ("trimmed beyond our position", Server::trim, false),
    ];
    for (what, cause, renews) in breaks {
        let server = Server::start();
        let (one, two) = Process::two(&server, None).await;
        assert!(one.invalidate(remove(1)).await);
        sleep(Duration::from_secs(2)).await;
        let (token, key) = (two.token(), 42);
        assert_eq!(two.standing(key, token), Standing::Valid);
        if !renews {
            // It reads nothing for a while.
            server.held().away = true;
            sleep(Duration::from_secs(2)).await;
            let mut held = server.held();
            held.last.0 += 5;
            held.away = false;
        }
        cause(&server);
        settle_down().await;
        two.until_ready().await;
        assert_eq!(two.standing(key, token), Standing::Removed, "{what}");
        let now = two.token();
        assert_eq!(now.origin != token.origin, renews, "{what}");
        assert_eq!(now.origin, one.token().origin, "{what}: all agree");
        if renews {
            assert!(now.shared >= token.shared, "{what}: versions never go back");
        }
        assert_eq!(two.standing(key, now), Standing::Valid, "{what}");
        assert_eq!(two.shared_standing(key, now), Standing::Valid, "{what}");
        let gaps = one.ledger.log_status().map_or(0, |status| status.gaps);
        assert!((1..=2).contains(&gaps), "{what}: {gaps}");
    }
}

/// Goal: an invalidation that the old server confirmed and the new one never had is not forgotten.
#[tokio::test(start_paused = true)]
async fn what_a_failover_lost_is_appended_again_by_whoever_wrote_it() {
    let server = Server::start();
    let (one, two) = Process::two(&server, None).await;
    assert!(one.invalidate(remove(5)).await);
    server.fail_over(1);
    server.held().slots.clear();
    // Somebody fills under the new epoch before the writer comes back.
    two.until_ready().await;
    sleep(Duration::from_millis(1_200)).await;
    settle_down().await;
    one.until_ready().await;
    let held = server.held();
    assert!(held.slots.contains_key("key 5"));
    assert!(held.records.iter().any(|record| record.by == 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_an_epoch_that_ended_names_that_epoch_for_good() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    assert_eq!(one.token().origin, 0, "nothing is known yet");
    one.until_ready().await;
    let token = one.token();
    assert_ne!(token.origin, 0);
    server.flush();
    settle_down().await;
    assert_ne!(one.token().origin, token.origin);
    assert_eq!(one.standing(9, token), Standing::Removed);
}

#[tokio::test(start_paused = true)]
async fn nothing_shared_is_asked_before_the_log_was_read() {
    let server = Server::start();
    server.held().away = true;
    let folder = folder();
    let one = Process::start(&server, 1, Some(folder.path()));
    settle_down().await;
    assert!(!one.ledger.shared_ready() && !one.ledger.disk_ready());
    server.held().away = false;
    one.until_ready().await;
    assert!(one.ledger.disk_ready());
}

#[tokio::test(start_paused = true)]
async fn a_silence_shortens_what_is_served_and_an_answer_ends_it() {
    let server = Server::start();
    let one = Process::start(&server, 1, None);
    one.until_ready().await;
    assert_eq!(one.ledger.served_until(1_000_000), u64::MAX);
    server.held().away = true;
    settle_down().await;
    let until = one.ledger.served_until(0);
    assert!((1_030_000..1_033_000).contains(&until), "{until}");
    assert_eq!(
        one.ledger.served_until(1_050_000),
        1_080_000,
        "filled in the silence"
    );
    server.held().away = false;
    one.until_ready().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(one.ledger.served_until(0), u64::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_learns_what_was_invalidated_while_it_was_away() {
    let server = Server::start();
    let folder = folder();
    let (one, two) = Process::two(&server, Some(folder.path())).await;
    assert!(two.invalidate(remove(1)).await);
    sleep(Duration::from_secs(2)).await;
    let on_disk = one.token();
    let origin = one.ledger.origin_local();
    assert_ne!(origin, 0);
    one.kill();
    assert!(two.invalidate(remove(5)).await);
    assert!(two.invalidate(Change::tag(0xBAD, Effect::Remove)).await);

    let one = Process::start(&server, 3, Some(folder.path()));
    assert_eq!(one.ledger.origin_local(), origin);
    assert!(!one.ledger.disk_ready());
    one.until_ready().await;
    assert_eq!(one.standing(5, on_disk), Standing::Removed);
    assert_eq!(one.standing(6, on_disk), Standing::Valid, "others are kept");
    let cache = one.floors.of_cache(CACHE);
    let tagged = one.floors.standing(&cache, 6, &[0xBAD], on_disk.local);
    assert_eq!(tagged, Standing::Removed);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_process_that_was_away_for_too_long_gives_up_its_disk() {
    let server = Server::start();
    let folder = folder();
    let (one, two) = Process::two(&server, Some(folder.path())).await;
    let on_disk = one.token();
    one.kill();
    assert!(two.invalidate(remove(5)).await);
    server.trim();
    let one = Process::start(&server, 3, Some(folder.path()));
    one.until_ready().await;
    assert_eq!(one.standing(6, on_disk), Standing::Removed);
}

#[tokio::test(start_paused = true)]
async fn own_invalidations_outlive_the_process_without_a_log_too() {
    let folder = folder();
    let one = Process::alone(Some(folder.path()));
    let token = one.token();
    assert!(one.ledger.disk_ready());
    one.invalidate(remove(5)).await;
    one.kill();
    let one = Process::alone(Some(folder.path()));
    assert_eq!(one.standing(5, token), Standing::Removed);
    assert_eq!(one.standing(6, token), Standing::Valid);
}

#[tokio::test(start_paused = true)]
async fn what_was_unsent_waits_for_a_process_that_has_a_log() {
    let server = Server::start();
    let folder = folder();
    let (one, two) = Process::two(&server, Some(folder.path())).await;
    let token = two.token();
    server.held().away = true;
    assert!(!one.invalidate(remove(5)).await);
    one.kill();
    for _ in 0..2 {
        let alone = Process::alone(Some(folder.path()));
        assert_eq!(alone.standing(5, token), Standing::Removed);
        alone.kill();
    }
    server.held().away = false;
    let one = Process::start(&server, 3, Some(folder.path()));
    assert!(one.ledger.blocks(CACHE, 5, &[]), "from the start on");
    settle_down().await;
    one.until_ready().await;
    assert_eq!(two.standing(5, token), Standing::Removed);
    assert!(server.held().slots.contains_key("key 5"));
}

/// Goal: whatever an announcement had to say reaches the others, whenever its process is killed.
/// Method: the process hangs at each call in turn, is killed there, and starts again on its folder.
#[tokio::test(start_paused = true)]
async fn an_announcement_reaches_the_others_wherever_its_process_is_killed() {
    for (kill, at) in KILLS
        .into_iter()
        .flat_map(|kill| (0..6).map(move |at| (kill, at)))
    {
        let server = Server::start();
        let folder = folder();
        let (one, two) = Process::two(&server, Some(folder.path())).await;
        let token = two.token();
        server.fail(at, kill);
        let ticket = one
            .ledger
            .announce(&[remove(5), Change::tag(TAG, Effect::Expire)]);
        let settled = tokio::select! {
            biased;
            () = server.stuck.notified() => false,
            version = one.ledger.settle(ticket) => version.is_some(),
        };
        one.kill();
        if settled && !server.failed() {
            assert!(at > 1, "one for the log, one for the slot");
            continue;
        }
        let one = Process::start(&server, 3, Some(folder.path()));
        settle_down().await;
        one.until_ready().await;
        assert_eq!(
            two.standing(5, token),
            Standing::Removed,
            "{kill:?} at {at}"
        );
        assert_eq!(
            two.standing(6, token),
            Standing::Expired,
            "{kill:?} at {at}"
        );
        assert!(
            server.held().slots.contains_key("key 5"),
            "{kill:?} at {at}"
        );
    }
}

/// Goal: an old value in Redis whose tombstone is missing (another shard of a Cluster lost it, or its
/// writer has not come to it yet) is not served by a process that applied its removal in an earlier life.
#[tokio::test(start_paused = true)]
async fn a_restarted_process_knows_of_shared_entries_what_it_had_applied_before() {
    let server = Server::start();
    let folder = folder();
    let (one, two) = Process::two(&server, Some(folder.path())).await;
    let old = one.token();
    for key in 0..1_500 {
        assert!(two.invalidate(remove(key)).await);
    }
    sleep(Duration::from_secs(2)).await;
    let refilled = one.token();
    one.kill();

    let one = Process::start(&server, 3, Some(folder.path()));
    one.until_ready().await;
    assert_eq!(one.shared_standing(5, old), Standing::Removed);
    assert_eq!(
        one.standing(5, refilled),
        Standing::Valid,
        "on disk it is newer than its removal"
    );
    one.kill();
    let one = Process::start(&server, 4, Some(folder.path()));
    one.until_ready().await;
    let status = one.ledger.log_status().expect("there is a log");
    assert_eq!(status.gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn once_nobody_follows_the_log_what_is_served_is_bounded_as_in_a_silence() {
    let server = Server::start();
    let (closed, aborted) = (
        Process::start(&server, 1, None),
        Process::start(&server, 2, None),
    );
    closed.until_ready().await;
    aborted.until_ready().await;
    closed.ledger.close(Duration::from_secs(1)).await;
    aborted.stop_following();
    sleep(Duration::from_secs(1)).await;
    for process in [closed, aborted] {
        let until = process.ledger.served_until(0);
        assert!((1_030_000..1_033_000).contains(&until), "{until}");
        assert!(!process.ledger.shared_ready());
    }
}
