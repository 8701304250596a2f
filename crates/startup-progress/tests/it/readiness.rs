//! Readiness moves along its table and nowhere else, and can be waited for.

use std::time::Duration;

use startup_progress::{Progress, Readiness};
use tokio::time::timeout;

const ALL: [Readiness; 4] = [
    Readiness::Starting,
    Readiness::Ready,
    Readiness::Draining,
    Readiness::Failed,
];

fn go(progress: &Progress, to: Readiness) -> bool {
    match to {
        Readiness::Ready => progress.ready(),
        Readiness::Draining => progress.drain(),
        Readiness::Failed => progress.fail("on purpose"),
        _ => false,
    }
}

#[test]
fn every_legal_move_happens_and_every_other_changes_nothing() {
    let legal = [
        (Readiness::Starting, Readiness::Ready),
        (Readiness::Starting, Readiness::Draining),
        (Readiness::Starting, Readiness::Failed),
        (Readiness::Ready, Readiness::Draining),
        (Readiness::Ready, Readiness::Failed),
    ];
    for from in ALL {
        for to in ALL {
            let progress = Progress::new("test");
            go(&progress, from);
            let before = progress.snapshot();
            assert_eq!(before.status, from);
            let moved = go(&progress, to);
            assert_eq!(moved, legal.contains(&(from, to)), "{from} -> {to}");
            assert_eq!(moved, from.can_become(to));
            let after = progress.snapshot();
            assert_eq!(after.status, if moved { to } else { from });
            assert_eq!(
                after.seq > before.seq,
                moved,
                "an ignored move is no change"
            );
        }
    }
}

#[test]
fn the_first_reason_stays() {
    let progress = Progress::new("test");
    assert!(progress.fail("the first"));
    assert!(!progress.fail("the second"));
    assert_eq!(progress.snapshot().reason.as_deref(), Some("the first"));
}

#[tokio::test(start_paused = true)]
async fn wait_for_returns_with_the_move() {
    let progress = Progress::new("test");
    let waiter = {
        let progress = progress.clone();
        tokio::spawn(async move { progress.wait_for(|now| now != Readiness::Starting).await })
    };
    tokio::task::yield_now().await;
    progress.step("noise").finish();
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished(), "a step is no move");
    progress.fail("on purpose");
    assert_eq!(waiter.await.unwrap(), Readiness::Failed);
}

#[tokio::test(start_paused = true)]
async fn wait_for_returns_at_once_when_it_is_so_already() {
    let progress = Progress::new("test");
    progress.ready();
    assert_eq!(
        progress.wait_for(|now| now == Readiness::Ready).await,
        Readiness::Ready
    );
}

#[tokio::test(start_paused = true)]
async fn changed_never_misses_a_change_between_two_calls() {
    let progress = Progress::new("test");
    let seen = progress.snapshot().seq;
    assert!(
        timeout(Duration::from_secs(60), progress.changed(seen))
            .await
            .is_err()
    );
    progress.step("between").finish();
    let newest = timeout(Duration::ZERO, progress.changed(seen))
        .await
        .expect("at once");
    assert!(newest > seen);
    assert_eq!(newest, progress.snapshot().seq);
}
