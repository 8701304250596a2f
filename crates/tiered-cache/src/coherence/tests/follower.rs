//! What the follower decides, answer by answer.

use std::time::Duration;

use crate::coherence::{
    Effect, Epoch, Page, Position, Record, Target, Version,
    follower::{Ask, Follower, Gap, NOBODYS, Step, backoff},
};

const LIMIT: usize = 3;
const EPOCH: Epoch = Epoch { id: 5, run: 1 };

fn page(epoch: Epoch, trimmed: u64, last: u64, records: &[u64]) -> Page {
    let record = |version: &u64| Record {
        version: Version(*version),
        by: 9,
        changes: vec![(Target::Key(*version), Effect::Remove)],
    };
    Page {
        epoch,
        trimmed: Version(trimmed),
        last: Version(last),
        records: records.iter().map(record).collect(),
    }
}

fn at(epoch: Epoch, version: u64) -> Position {
    Position {
        epoch,
        version: Version(version),
    }
}

fn applied(step: &Step) -> Vec<u64> {
    step.apply.iter().map(|record| record.version.0).collect()
}

/// One that has read the log up to 10.
fn following() -> Follower {
    let mut follower = Follower::new(None);
    follower.renewed(EPOCH);
    let step = follower.page(page(EPOCH, 0, 10, &[10]), LIMIT);
    assert!(step.ready);
    follower
}

#[test]
fn a_new_process_reads_all_that_is_there_before_it_is_ready() {
    let mut follower = Follower::new(None);
    let first = Ask::Renew {
        old: NOBODYS,
        above: Version(0),
    };
    assert_eq!(follower.ask(), first);
    follower.renewed(EPOCH);
    let from_the_start = Ask::Read {
        after: Version(0),
        patient: false,
    };
    assert_eq!(follower.ask(), from_the_start);
    let step = follower.page(page(EPOCH, 4, 9, &[5, 6, 7]), LIMIT);
    assert!(step.load_floors && !step.ready && step.gap.is_none());
    assert_eq!(applied(&step), [5, 6, 7]);
    assert_eq!(step.position, Some(at(EPOCH, 7)));
    let step = follower.page(page(EPOCH, 4, 9, &[8, 9]), LIMIT);
    assert!(step.ready && !step.load_floors);
    let wait_for_more = Ask::Read {
        after: Version(9),
        patient: true,
    };
    assert_eq!(follower.ask(), wait_for_more);
}

#[test]
fn a_restarted_process_goes_on_from_what_it_kept() {
    let mut follower = Follower::new(Some(at(EPOCH, 7)));
    follower.renewed(EPOCH);
    let step = follower.page(page(EPOCH, 7, 9, &[8, 9]), LIMIT);
    assert!(step.ready && step.load_floors && step.gap.is_none());
    assert_eq!(applied(&step), [8, 9]);
}

#[test]
fn a_restarted_process_that_cannot_go_on_gives_up_everything() {
    let cases = [
        (Gap::Trimmed, EPOCH, 8, 9),
        (Gap::Backwards, EPOCH, 0, 6),
        (Gap::Epoch, Epoch { id: 6, run: 1 }, 0, 9),
        (Gap::Run, Epoch { id: 6, run: 2 }, 0, 9),
    ];
    for (gap, epoch, trimmed, last) in cases {
        let mut follower = Follower::new(Some(at(EPOCH, 7)));
        follower.renewed(epoch);
        let step = follower.page(page(epoch, trimmed, last, &[]), LIMIT);
        let horizon = Version(last.max(7));
        assert_eq!(step.gap, Some((gap, horizon)));
        assert!(!step.ready && step.position.is_none() && step.apply.is_empty());
        if gap.is_loss() {
            let renew = Ask::Renew {
                old: EPOCH,
                above: horizon,
            };
            assert_eq!(follower.ask(), renew, "{gap:?}");
            follower.renewed(epoch);
        }
        let step = follower.page(page(epoch, trimmed, 9, &[]), LIMIT);
        assert!(step.ready && step.gap.is_none(), "{gap:?}");
        assert_eq!(step.position, Some(at(epoch, 9)));
    }
}

#[test]
fn records_are_taken_in_their_order_and_position_never_jumps_over_one() {
    let mut follower = following();
    let step = follower.page(page(EPOCH, 0, 20, &[11, 12, 13]), LIMIT);
    assert_eq!(step.position, Some(at(EPOCH, 13)), "not 20");
    let step = follower.page(page(EPOCH, 0, 20, &[]), LIMIT);
    assert_eq!(step.position, Some(at(EPOCH, 20)), "nothing is in between");
    for disorder in [&[22, 21][..], &[20], &[21, 21]] {
        let mut follower = following();
        follower.page(page(EPOCH, 0, 20, &[]), LIMIT);
        let step = follower.page(page(EPOCH, 0, 22, disorder), LIMIT);
        assert_eq!(step.gap, Some((Gap::Disorder, Version(22))));
        assert_eq!(applied(&step), [0; 0]);
    }
}

#[test]
fn a_loss_renews_the_epoch_above_all_that_is_known_before_anything_is_ready() {
    let restarted = Epoch { id: 5, run: 2 };
    let renewed = Epoch { id: 6, run: 2 };
    let mut follower = following();
    let step = follower.page(page(restarted, 0, 8, &[]), LIMIT);
    assert_eq!(step.gap, Some((Gap::Run, Version(10))));
    let renew = Ask::Renew {
        old: EPOCH,
        above: Version(10),
    };
    assert_eq!(follower.ask(), renew);
    follower.renewed(renewed);
    let step = follower.page(page(renewed, 0, 12, &[12]), LIMIT);
    assert_eq!(
        step.gap,
        Some((Gap::Epoch, Version(12))),
        "what the old one had since"
    );
    follower.renewed(renewed);
    let from_its_end = Ask::Read {
        after: Version(12),
        patient: false,
    };
    assert_eq!(follower.ask(), from_its_end);
    let step = follower.page(page(renewed, 0, 14, &[13, 14]), LIMIT);
    assert_eq!(applied(&step), [13, 14]);
    assert!(step.ready && step.gap.is_none());
}

#[test]
fn an_epoch_that_somebody_renewed_already_is_taken_as_it_is() {
    let renewed = Epoch { id: 6, run: 2 };
    let mut follower = following();
    follower.page(page(renewed, 0, 12, &[12]), LIMIT);
    follower.renewed(renewed);
    let step = follower.page(page(renewed, 0, 13, &[13]), LIMIT);
    assert!(step.ready && step.gap.is_none());
    assert_eq!(applied(&step), [13], "nothing since is left out");
}

#[test]
fn a_position_below_what_was_given_up_is_never_taken_for_known() {
    let renewed = Epoch { id: 6, run: 1 };
    let mut follower = following();
    follower.page(page(renewed, 0, 8, &[]), LIMIT);
    follower.renewed(renewed);
    let step = follower.page(page(renewed, 0, 9, &[9]), LIMIT);
    assert!(!step.ready && step.position.is_none());
    let raise_it = Ask::Renew {
        old: NOBODYS,
        above: Version(10),
    };
    assert_eq!(follower.ask(), raise_it);
    follower.renewed(renewed);
    let step = follower.page(page(renewed, 0, 10, &[]), LIMIT);
    assert!(step.ready);
}

#[test]
fn a_server_that_is_restarted_again_while_the_epoch_is_renewed_is_another_gap() {
    let mut follower = following();
    follower.page(page(Epoch { id: 5, run: 2 }, 0, 10, &[]), LIMIT);
    follower.renewed(Epoch { id: 7, run: 3 });
    let step = follower.page(page(Epoch { id: 7, run: 3 }, 0, 10, &[]), LIMIT);
    assert!(matches!(step.gap, Some((Gap::Run, _))) && !step.ready);
}

#[test]
fn who_only_fell_behind_does_not_cost_the_others_their_epoch() {
    let mut follower = following();
    let step = follower.page(page(EPOCH, 11, 30, &[12, 13]), LIMIT);
    assert_eq!(step.gap, Some((Gap::Trimmed, Version(30))));
    let go_on = Ask::Read {
        after: Version(30),
        patient: false,
    };
    assert_eq!(follower.ask(), go_on);
    let step = follower.page(page(EPOCH, 11, 31, &[31]), LIMIT);
    assert!(step.ready && step.gap.is_none());
}

#[test]
fn pauses_grow_to_a_bound_and_begin_anew_after_an_answer() {
    let mut follower = following();
    let pauses: Vec<_> = (0..8).map(|_| follower.failed(1.0).as_millis()).collect();
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    follower.page(page(EPOCH, 0, 10, &[]), LIMIT);
    assert_eq!(follower.failed(0.0), Duration::from_millis(50));
    assert_eq!(backoff(u32::MAX, 1.0), Duration::from_secs(5));
}
