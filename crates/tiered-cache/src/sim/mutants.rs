//! That the simulation can fail: each broken rule must be noticed within a few hundred schedules.

use super::{plan, schedule::run, store::Wrong};

#[test]
fn each_broken_rule_is_noticed() {
    let rules = [
        Wrong::FillIgnoresToken,
        Wrong::GapsAreHidden,
        Wrong::RecordsAreSkipped,
        Wrong::OwnAppendRaisesApplied,
        Wrong::IntentsAreForgotten,
    ];
    for wrong in rules {
        let noticed = (0..WITHIN).find(|seed| !run(plan(*seed, wrong)).wrongs.is_empty());
        assert!(noticed.is_some(), "{wrong:?} was not noticed");
    }
}

const WITHIN: u64 = 400;
