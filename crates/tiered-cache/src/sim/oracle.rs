//! The scripted Redis against what must be true of it whatever the order of commands.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{dice::Dice, store::Store};
use crate::coherence::{Effect, Target, Version};

/// All that was ever done to one slot.
#[derive(Debug, Default)]
struct Slot {
    fills: Vec<u64>,
    removals: Vec<u64>,
    expiries: Vec<u64>,
}

impl Slot {
    fn highest(&self) -> u64 {
        let all = [&self.fills, &self.removals, &self.expiries];
        all.into_iter().flatten().copied().max().unwrap_or(0)
    }
}

#[test]
fn a_slot_gives_the_last_accepted_fill_unless_something_newer_removed_it() {
    for seed in 0..300 {
        let dice = Dice::seeded(seed);
        let mut store = Store::new(1);
        let mut slot = Slot::default();
        for now_ms in 0..60 {
            let version = dice.between(1, 20);
            match dice.below(4) {
                0 | 1 => {
                    let bytes = Bytes::from(version.to_string());
                    let kept = store.fill("k", bytes, Version(version), u64::MAX, now_ms);
                    assert_eq!(
                        kept,
                        version >= slot.highest(),
                        "seed {seed}: fill {version}"
                    );
                    if kept {
                        slot.fills.push(version);
                    }
                }
                2 => {
                    store.invalidate("k", Effect::Remove, Version(version), now_ms);
                    slot.removals.push(version);
                }
                _ => {
                    store.invalidate("k", Effect::Expire, Version(version), now_ms);
                    slot.expiries.push(version);
                }
            }
            let found = store.get("k", now_ms);
            let found = found.map(|found| String::from_utf8_lossy(&found.bytes).parse::<u64>());
            let last = slot.fills.last().copied();
            let removed = |fill: u64| slot.removals.iter().any(|removal| *removal > fill);
            let expected = last.filter(|fill| !removed(*fill));
            assert_eq!(found, expected.map(Ok), "seed {seed}: {slot:?}");
        }
    }
}

#[test]
fn versions_rise_whatever_befalls_the_server_and_readers_can_tell_that_records_are_lost() {
    for seed in 0..300 {
        let dice = Dice::seeded(seed);
        let mut store = Store::new(seed);
        let (mut seen, mut seen_epoch) = (Version(0), store.epoch());
        let mut appended: BTreeMap<Version, u64> = BTreeMap::new();
        for now_ms in 0..80 {
            match dice.below(12) {
                0 => store.flush(),
                1 => store.fail_over(dice.index(4)),
                2 => store.restart(),
                3 => store.trim(dice.index(4)),
                4 => store.evict_log(),
                5 => store.skew_ms = dice.pick(&[0, -50_000, 50_000]),
                6..=8 => {
                    let hash = dice.below(9);
                    let change = (Target::Tag(hash), Effect::Remove);
                    let version = store.append(1, &[change], seen, now_ms);
                    assert!(version > seen, "seed {seed}");
                    appended.insert(version, hash);
                }
                _ => {
                    let page = store.page(seen, 100, seen, now_ms);
                    let same = page.epoch == seen_epoch && page.trimmed <= seen;
                    if same {
                        let unread = appended.range(Version(seen.0 + 1)..);
                        let shown = page.records.iter().filter(|one| !one.changes.is_empty());
                        let shown: Vec<_> = shown.map(|record| record.version).collect();
                        let unread: Vec<_> = unread.map(|(version, _)| *version).collect();
                        assert_eq!(shown, unread, "seed {seed}: nothing may be missing");
                    }
                    // What was appended before is told, or known to be lost.
                    appended.clear();
                    seen_epoch = page.epoch;
                    seen = page.last.max(seen);
                }
            }
        }
    }
}

#[test]
fn who_comes_late_gets_the_floors_of_all_tags_or_higher_ones() {
    for seed in 0..100 {
        let dice = Dice::seeded(seed);
        let mut store = Store::new(seed);
        let mut highest = BTreeMap::new();
        for now_ms in 0..40 {
            let target = Target::Tag(dice.below(9));
            let effect = dice.pick(&[Effect::Remove, Effect::Expire]);
            let version = store.append(1, &[(target, effect)], Version(0), now_ms);
            highest.insert((target, effect == Effect::Remove), version);
            let floors = store.floors(Version(0), now_ms);
            for ((target, removes), version) in &highest {
                let covers = floors.iter().any(|(of, effect, at)| {
                    (of == target || *of == Target::All)
                        && (*effect == Effect::Remove) == *removes
                        && at >= version
                });
                assert!(covers, "seed {seed}: {target:?} has lost its floor");
            }
        }
    }
}
