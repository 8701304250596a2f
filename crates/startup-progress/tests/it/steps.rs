//! A step ends the way its owner says, and never well by accident.

use std::{panic, panic::AssertUnwindSafe, time::Duration};

use startup_progress::{Progress, StepStatus};

use crate::support::step;

#[test]
fn a_step_runs_until_it_is_finished() {
    let progress = Progress::new("test");
    let guard = progress.step("warm cache").stage("cache").total(10);
    guard.advance(3);
    guard.message("half way");
    let running = step(&progress, "warm cache");
    assert_eq!(running.status, StepStatus::Running);
    assert_eq!((running.current, running.total), (3, Some(10)));
    assert_eq!(running.stage.as_deref(), Some("cache"));
    assert_eq!(running.message.as_deref(), Some("half way"));
    assert_eq!(running.took_ms, None);
    guard.finish();
    assert_eq!(step(&progress, "warm cache").status, StepStatus::Done);
}

#[test]
fn a_dropped_step_is_abandoned() {
    let progress = Progress::new("test");
    drop(progress.step("early return"));
    assert_eq!(
        step(&progress, "early return").status,
        StepStatus::Abandoned
    );
}

#[test]
fn a_step_dropped_by_a_panic_has_failed() {
    let progress = Progress::new("test");
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let _guard = progress.step("bad code");
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    let failed = step(&progress, "bad code");
    assert_eq!(failed.status, StepStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_future_abandons_its_step() {
    let progress = Progress::new("test");
    let work = async {
        let guard = progress.step("slow");
        std::future::pending::<()>().await;
        guard.finish();
    };
    let outcome = tokio::time::timeout(Duration::from_millis(250), work).await;
    assert!(outcome.is_err());
    let abandoned = step(&progress, "slow");
    assert_eq!(abandoned.status, StepStatus::Abandoned);
    assert_eq!(
        (abandoned.started_ms, abandoned.took_ms),
        (Some(0), Some(250))
    );
}

#[test]
fn a_failed_step_keeps_its_reason_and_leaves_readiness_alone() {
    let progress = Progress::new("test");
    progress.step("redis").fail("connection refused");
    progress.step("demo data").skip("the database is not empty");
    let failed = step(&progress, "redis");
    assert_eq!(failed.status, StepStatus::Failed);
    assert_eq!(failed.error.as_deref(), Some("connection refused"));
    let skipped = step(&progress, "demo data");
    assert_eq!(skipped.status, StepStatus::Skipped);
    assert_eq!(
        skipped.message.as_deref(),
        Some("the database is not empty")
    );
    assert!(progress.ready(), "a failed step does not fail the service");
}

#[test]
fn percent_never_falls_and_is_100_only_once_ready() {
    let progress = Progress::new("test");
    let first = progress.step("first").total(2);
    first.advance(1);
    assert_eq!(
        progress.snapshot().percent,
        25,
        "half a step; becoming ready weighs as much as one"
    );
    let second = progress.step("second");
    assert_eq!(
        progress.snapshot().percent,
        25,
        "a new step does not take back what was shown"
    );
    first.set_current(0);
    assert_eq!(progress.snapshot().percent, 25);
    first.finish();
    second.finish();
    assert_eq!(
        progress.snapshot().percent,
        66,
        "all known steps are over, but nobody is ready"
    );
    progress.ready();
    assert_eq!(progress.snapshot().percent, 100);
}

#[test]
fn absurd_counts_are_shown_as_they_are_and_break_nothing() {
    let progress = Progress::new("test");
    let guard = progress.step("odd").total(0);
    guard.advance(u64::MAX);
    guard.advance(u64::MAX);
    assert_eq!(step(&progress, "odd").current, u64::MAX);
    let guard = guard.total(u64::MAX);
    assert_eq!(progress.snapshot().percent, 50);
    guard.finish();
}
