//! The floors against a table that forgets nothing, and under threads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{
    chance::Chance,
    coherence::{Effect, Floors, Standing, Target, Version, marks::RECENT},
};

const CACHES: u64 = 3;
const HASHES: u64 = 60;

/// All floors, none forgotten.
#[derive(Debug, Default)]
struct Model {
    /// The last local number and shared version of each target and effect.
    floors: BTreeMap<(Target, bool), (u64, Version)>,
}

impl Model {
    fn rise(&mut self, target: Target, effect: Effect, number: u64, version: Version) {
        let floor = self.floors.entry((target, effect == Effect::Remove));
        let floor = floor.or_default();
        *floor = (floor.0.max(number), floor.1.max(version));
    }

    fn standing(&self, covering: &[Target], older: impl Fn((u64, Version)) -> bool) -> Standing {
        let worst = |removes| {
            let floors = covering
                .iter()
                .filter_map(|target| self.floors.get(&(*target, removes)));
            floors.copied().any(&older)
        };
        match (worst(true), worst(false)) {
            (true, _) => Standing::Removed,
            (_, true) => Standing::Expired,
            _ => Standing::Valid,
        }
    }
}

fn target(chance: &Chance) -> Target {
    match chance.draw() % 40 {
        0 => Target::All,
        1..=3 => Target::Cache(chance.draw() % CACHES),
        4..=12 => Target::Tag(chance.draw() % HASHES),
        _ => Target::Key(chance.draw() % HASHES),
    }
}

/// Goal: the bounded table may say "too old" of what is not, never the reverse, in both spaces and
/// for every kind of target. Method: random histories against a table that forgets nothing.
#[test]
fn no_floor_is_ever_forgotten() {
    for seed in 0..40 {
        let chance = Chance::seeded(seed);
        let floors = Floors::new(4);
        let mut model = Model::default();
        let mut last = Version(0);
        for _ in 0..600 {
            let target = target(&chance);
            let effect = match chance.draw() % 2 {
                0 => Effect::Remove,
                _ => Effect::Expire,
            };
            match chance.draw() % 4 {
                0 => {
                    last = Version(last.0 + 1 + chance.draw() % 3);
                    let number = floors.apply(target, effect, last);
                    model.rise(target, effect, number, last);
                }
                1 => {
                    // A record of an own invalidation, from long ago perhaps.
                    let version = Version(chance.draw() % (last.0 + 2));
                    floors.confirm(target, effect, version);
                    model.rise(target, effect, 0, version);
                }
                _ => {
                    let number = floors.raise(target, effect);
                    model.rise(target, effect, number, Version(0));
                }
            }
            let (cache, key) = (chance.draw() % CACHES, chance.draw() % HASHES);
            let tags = [chance.draw() % HASHES, chance.draw() % HASHES];
            let covering = [
                Target::Key(key),
                Target::Tag(tags[0]),
                Target::Tag(tags[1]),
                Target::Cache(cache),
                Target::All,
            ];
            let local = chance.draw() % (floors.token().local + 1);
            let shared = Version(chance.draw() % (last.0 + 1));
            let floor = floors.of_cache(cache);
            let found = floors.standing(&floor, key, &tags, local);
            assert!(found >= model.standing(&covering, |floor| local < floor.0));
            let passes = floors.passes(&floor, key, &tags, local);
            assert!(
                !passes || found == Standing::Valid,
                "the fast path errs one way"
            );
            let found = floors.standing_shared(&floor, key, &tags, shared);
            assert!(found >= model.standing(&covering, |floor| shared < floor.1));
            let now = floors.token().local;
            assert!(
                floors.passes(&floor, key, &tags, now),
                "what is filled now is new"
            );
        }
    }
}

#[test]
fn other_keys_of_a_stripe_keep_their_older_fills() {
    let floors = Floors::new(1);
    let cache = floors.of_cache(1);
    let filled = floors.token().local;
    for hash in 0..RECENT as u64 {
        floors.raise(Target::Key(hash), Effect::Remove);
    }
    let standing = || floors.standing(&cache, 99, &[], filled);
    assert_eq!(standing(), Standing::Valid, "as many as there are places");
    assert!(
        !floors.passes(&cache, 99, &[], filled),
        "the fast path need not know"
    );
    floors.raise(Target::Key(50), Effect::Remove);
    assert_eq!(
        standing(),
        Standing::Removed,
        "one more, and the oldest counts for all"
    );
}

/// Goal: keys that were taken out of memory are forgotten there at no cost to others, and are forgotten
/// nowhere else. Method: an entry of each kind, older than far more removals than there are places.
#[test]
fn what_was_evicted_from_memory_is_no_reason_against_what_is_there() {
    let floors = Floors::new(1);
    let cache = floors.of_cache(1);
    let filled = floors.token().local;
    for hash in 0..100 {
        floors.raise_and_evict(hash, Effect::Remove);
    }
    let in_memory = |key, tags: &[u64]| floors.standing_in_memory(&cache, key, tags, filled);
    assert_eq!(in_memory(500, &[501]), Standing::Valid);
    assert_eq!(
        in_memory(99, &[]),
        Standing::Removed,
        "of the latest few it is known"
    );
    let anywhere = floors.standing(&cache, 500, &[501], filled);
    assert_eq!(anywhere, Standing::Removed, "an older copy may be on disk");
    let tagged = floors.standing(&cache, 99, &[501], floors.token().local - 1);
    assert_eq!(tagged, Standing::Removed);

    for hash in 100..200 {
        floors.raise(Target::Key(hash), Effect::Remove);
    }
    assert_eq!(
        in_memory(500, &[]),
        Standing::Removed,
        "those may be in memory still"
    );
    let now = floors.token().local;
    for hash in 200..300 {
        floors.raise(Target::Key(hash), Effect::Remove);
    }
    let tagged = floors.standing_in_memory(&cache, 1_000, &[1_001], now);
    assert_eq!(tagged, Standing::Removed, "by its own key");
    let by_tag = floors.standing(&floors.of_cache(2), 299, &[1_001], now);
    assert_eq!(by_tag, Standing::Removed, "its own key is among the latest");
    let fresh = floors.token().local;
    for hash in 300..400 {
        floors.raise(Target::Tag(hash), Effect::Remove);
    }
    assert_eq!(
        floors.standing(&cache, 1_000, &[], fresh),
        Standing::Valid,
        "it has no tag"
    );
    assert_eq!(
        floors.standing(&cache, 1_000, &[1_001], fresh),
        Standing::Removed
    );
}

#[test]
fn a_cache_made_after_everything_was_removed_knows_of_it() {
    let floors = Floors::new(4);
    let filled = floors.token().local;
    floors.raise(Target::All, Effect::Remove);
    let cache = floors.of_cache(9);
    assert_eq!(floors.standing(&cache, 1, &[], filled), Standing::Removed);
}

#[test]
fn saved_floors_in_any_order_say_at_least_what_they_said() {
    let chance = Chance::seeded(3);
    let floors = Floors::new(4);
    for _ in 0..500 {
        floors.raise(target(&chance), Effect::Remove);
        floors.raise(target(&chance), Effect::Expire);
    }
    let mut saved = floors.saved();
    assert!(saved.len() <= floors.capacity() + CACHES as usize + 1);
    let last = floors.token().local;
    for _ in 0..10 {
        saved.sort_by_cached_key(|_| chance.draw());
        let again = Floors::new(4);
        for (place, marks) in &saved {
            again.restore_saved(*place, *marks);
        }
        for number in (0..=last).step_by(7) {
            let (key, tag, cache) = (number % HASHES, (number / 7) % HASHES, number % CACHES);
            let of =
                |floors: &Floors| floors.standing(&floors.of_cache(cache), key, &[tag], number);
            // More of them may be refused: it is not kept what was a key and what a tag.
            assert!(of(&again) >= of(&floors));
        }
        assert!(again.token().local >= last, "numbers go on");
    }
}

/// Goal: whoever holds a token as high as an invalidation sees its floor. Method: two threads that
/// invalidate a key each, and a third that takes tokens and looks at once.
#[test]
fn no_token_is_given_out_before_the_floors_below_it_are_visible() {
    let floors = Arc::new(Floors::new(2));
    let raised = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2_u64)
        .map(|writer| {
            let (floors, stop) = (Arc::clone(&floors), Arc::clone(&stop));
            let raised = Arc::clone(&raised);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = floors.raise(Target::Key(writer), Effect::Remove);
                    raised.fetch_max(number, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let cache = floors.of_cache(1);
    let mut seen = 0;
    while seen < 20_000 {
        let token = floors.token().local;
        // The token's number is that of an invalidation of one of the two keys.
        let older = token.saturating_sub(1);
        let told = (0..2).any(|key| floors.standing(&cache, key, &[], older) == Standing::Removed);
        assert!(token <= 1 || told, "a token without its floor");
        seen += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("no panic");
    }
    assert!(raised.load(Ordering::SeqCst) > 0);
}
