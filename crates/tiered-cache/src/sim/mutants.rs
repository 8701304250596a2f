//! That the simulation can fail: each broken rule must be noticed within a few hundred schedules.
//!
//! Some rules are no use here, because another makes up for them: a slot that takes older fills does no
//! harm as long as readers hold them against the floors.

use super::{plan, schedule::run, store::Wrong};

#[test]
fn each_broken_rule_is_noticed() {
    let rules = [
        Wrong::GapsAreHidden,
        Wrong::RecordsAreSkipped,
        Wrong::IntentsAreForgotten,
        Wrong::LoadsAreOld,
        Wrong::InsertionsAreOld,
    ];
    let mut missed = Vec::new();
    for wrong in rules {
        let noticed = (0..WITHIN).find(|seed| !run(plan(*seed, wrong)).wrongs.is_empty());
        missed.extend(noticed.is_none().then_some(wrong));
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

const WITHIN: u64 = 400;
