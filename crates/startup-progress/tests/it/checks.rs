//! Checks run the service's code, so they may panic and must not hold a lock.

use startup_progress::{CheckStatus, Health, Progress};

#[test]
fn a_check_that_panics_has_failed() {
    let progress = Progress::new("test");
    progress.check("bad code", || panic!("on purpose"));
    let check = &progress.snapshot().checks["bad code"];
    assert_eq!(check.status, CheckStatus::Fail);
    assert_eq!(check.detail.as_deref(), Some("the check panicked"));
}

#[test]
fn a_check_may_read_the_progress_it_belongs_to() {
    let progress = Progress::new("test");
    let handle = progress.clone();
    progress.check("own readiness", move || {
        Health::Warn(handle.readiness().to_string())
    });
    let snapshot = progress.snapshot();
    assert_eq!(
        snapshot.checks["own readiness"].detail.as_deref(),
        Some("starting")
    );
}

#[test]
fn an_unchanged_answer_is_no_change() {
    let progress = Progress::new("test");
    progress.check("redis", || Health::Pass);
    let first = progress.snapshot();
    assert_eq!(progress.snapshot().seq, first.seq);
}
