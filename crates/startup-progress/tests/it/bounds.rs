//! Nothing grows without a bound: steps, checks and texts are counted, refused or cut.

use startup_progress::{Health, Progress, ProgressConfig};

fn small() -> Progress {
    Progress::with_config(
        "test",
        ProgressConfig {
            steps_max: 2,
            checks_max: 1,
            text_max: 8,
        },
    )
}

#[test]
fn steps_past_the_bound_work_and_are_only_counted() {
    let progress = small();
    let guards: Vec<_> = (0..5).map(|n| progress.step(format!("step {n}"))).collect();
    for guard in guards {
        guard.advance(1);
        guard.finish();
    }
    let snapshot = progress.snapshot();
    assert_eq!(snapshot.steps.len(), 2);
    assert_eq!(snapshot.omitted_steps, 3);
}

#[test]
fn a_bound_of_no_steps_is_allowed() {
    let progress = Progress::with_config(
        "test",
        ProgressConfig {
            steps_max: 0,
            ..ProgressConfig::default()
        },
    );
    progress.step("unseen").finish();
    assert_eq!(progress.snapshot().percent, 0);
    progress.ready();
    assert_eq!(progress.snapshot().percent, 100);
}

#[test]
fn checks_past_the_bound_are_refused_but_a_known_name_is_replaced() {
    let progress = small();
    assert!(progress.check("redis", || Health::Pass));
    assert!(!progress.check("disk", || Health::Pass));
    assert!(progress.check("redis", || Health::Warn("late".to_owned())));
    let snapshot = progress.snapshot();
    assert_eq!(snapshot.checks.len(), 1);
    assert_eq!(snapshot.checks["redis"].detail.as_deref(), Some("late"));
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let progress = small();
    let guard = progress.step("a name that is too long");
    guard.message("äöüäöü");
    guard.finish();
    let snapshot = progress.snapshot();
    assert_eq!(snapshot.steps[0].name, "a name t…");
    assert_eq!(snapshot.steps[0].message.as_deref(), Some("äöüä…"));
}
