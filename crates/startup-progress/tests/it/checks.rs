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

#[test]
fn a_replaced_check_may_use_the_progress_while_it_is_dropped() {
    struct Farewell(Progress);
    impl Drop for Farewell {
        fn drop(&mut self) {
            self.0.check("farewell", || Health::Pass);
        }
    }
    // On a thread of its own, so that a deadlock is a failure and not a test without end.
    let (sender, done) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let progress = Progress::new("test");
        let farewell = Farewell(progress.clone());
        progress.check("redis", move || {
            let _keep = &farewell;
            Health::Pass
        });
        progress.check("redis", || Health::Pass);
        let _ = sender.send(progress.snapshot().checks.len());
    });
    let checks = done.recv_timeout(std::time::Duration::from_secs(10));
    assert_eq!(
        checks,
        Ok(2),
        "the lock was held while the old check was dropped"
    );
}
