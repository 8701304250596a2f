//! The checker itself, on histories made by hand.

use super::*;

const A: usize = 0;
const B: usize = 1;

fn began(event: u64, at_ms: u64) -> Began {
    Began { event, at_ms }
}

/// One row at version 2, two processes.
fn setting() -> (History, Database) {
    let targets = BTreeMap::from([(Target::Key(7), Scope::Rows(vec![0]))]);
    let mut history = History::new(targets, 40_000, 600_000);
    let mut database = Database::new(1);
    history.start(began(1, 0), None, Version(0));
    history.start(began(2, 0), None, Version(0));
    database.commit(0, true, 100);
    (history, database)
}

fn page(epoch: Epoch, version: Option<u64>) -> Page {
    let records = version.map(|version| crate::coherence::Record {
        version: Version(version),
        by: 1,
        changes: vec![(Target::Key(7), Effect::Remove)],
    });
    Page {
        epoch,
        trimmed: Version(0),
        last: Version(version.unwrap_or(0)),
        records: records.into_iter().collect(),
    }
}

#[test]
fn the_caller_may_not_see_what_it_removed_from_its_first_poll_on() {
    let (mut history, database) = setting();
    history.called(
        A,
        Scope::Rows(vec![0]),
        Effect::Remove,
        vec![2],
        began(3, 100),
    );
    let check =
        |process, event, answer| history.check(process, began(event, 100), 0, answer, &database);
    assert!(check(A, 3, Answer::Fresh(1)).is_ok());
    assert!(check(A, 4, Answer::Fresh(1)).is_err());
    assert!(check(A, 4, Answer::Stale(1)).is_err());
    assert!(check(A, 4, Answer::Fresh(2)).is_ok());
    assert!(check(B, 4, Answer::Fresh(1)).is_ok());
}

#[test]
fn expired_values_may_be_answered_as_stale_alone() {
    let (mut history, database) = setting();
    history.called(
        A,
        Scope::Rows(vec![0]),
        Effect::Expire,
        vec![2],
        began(3, 100),
    );
    let check = |answer| history.check(A, began(4, 100), 0, answer, &database);
    assert!(check(Answer::Fresh(1)).is_err());
    assert!(check(Answer::Stale(1)).is_ok());
}

#[test]
fn others_must_know_once_the_record_has_reached_them_or_the_bound_is_over() {
    let epoch = Epoch { id: 1, run: 1 };
    let (mut history, database) = setting();
    let changes = [(Target::Key(7), Effect::Remove)];
    history.logged(Version(5), A, &changes, &[2], 200);
    let late = began(9, 40_200);
    let check = |history: &History, began| history.check(B, began, 0, Answer::Fresh(1), &database);
    assert!(check(&history, late).is_ok());
    assert!(check(&history, began(9, 40_201)).is_err());
    history.delivered(B, &page(epoch, Some(5)), 300, 310);
    assert!(check(&history, began(9, 310)).is_ok());
    assert!(check(&history, began(9, 311)).is_err());
}

#[test]
fn a_lost_record_binds_whoever_sees_another_log_than_before() {
    let (mut history, database) = setting();
    history.delivered(B, &page(Epoch { id: 1, run: 1 }, None), 150, 150);
    let changes = [(Target::Key(7), Effect::Remove)];
    history.logged(Version(5), A, &changes, &[2], 200);
    history.disturbed(|_| false, 250);
    let check = |history: &History| history.check(B, began(9, 400), 0, Answer::Fresh(1), &database);
    assert!(check(&history).is_ok());
    history.delivered(B, &page(Epoch { id: 2, run: 2 }, None), 300, 300);
    assert!(check(&history).is_err());
}

#[test]
fn an_insertion_may_come_after_what_was_invalidated_during_it() {
    let (mut history, mut database) = setting();
    let insertion = history.inserting(0, 2, 110);
    history.inserted(insertion, 130);
    database.commit(0, true, 120);
    history.called(
        A,
        Scope::Rows(vec![0]),
        Effect::Remove,
        vec![3],
        began(4, 120),
    );
    let check = |history: &History, answer| history.check(A, began(9, 200), 0, answer, &database);
    assert!(check(&history, Answer::Fresh(2)).is_ok());
    assert!(check(&history, Answer::Fresh(1)).is_err());
    history.called(
        A,
        Scope::Rows(vec![0]),
        Effect::Remove,
        vec![3],
        began(5, 140),
    );
    assert!(check(&history, Answer::Fresh(2)).is_err());
}

#[test]
fn absence_must_have_been_true_after_the_floor() {
    let (mut history, mut database) = setting();
    database.commit(0, false, 120);
    let absent = |history: &History, database: &Database| {
        history.check(A, began(9, 200), 0, Answer::Absent, database)
    };
    assert!(absent(&history, &database).is_ok());
    database.commit(0, true, 130);
    assert!(absent(&history, &database).is_ok());
    history.called(
        A,
        Scope::All,
        Effect::Remove,
        database.versions(),
        began(4, 140),
    );
    assert!(absent(&history, &database).is_err());
}

#[test]
fn a_heir_knows_what_the_calls_of_its_ancestors_left_in_the_folder() {
    let (mut history, database) = setting();
    let scope = Scope::Rows(vec![0]);
    let call = history.called(A, scope, Effect::Remove, vec![2], began(3, 100));
    let half = history.start(began(4, 110), Some(A), Version(0));
    history.returned(call);
    let heir = history.start(began(5, 120), Some(A), Version(0));
    let grandchild = history.start(began(6, 130), Some(heir), Version(0));
    let stranger = history.start(began(7, 140), None, Version(0));
    let check = |process| history.check(process, began(9, 150), 0, Answer::Fresh(1), &database);
    assert!(check(half).is_ok());
    assert!(check(heir).is_err());
    assert!(check(grandchild).is_err());
    assert!(check(stranger).is_ok());
}
