//! Every interleaving of a few threads at the floors and at the coarse clock, by a model checker in the
//! place of `std::sync`. It runs the very files that the cache runs.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "the cache uses more of these files than the models"
)]

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use coarse::{Coarse, Reading};
use floors::Floors;
use marks::Marks;
use version::{Effect, Standing, Target, Token, Version};

#[path = "../../src/clock/coarse.rs"]
mod coarse;
#[path = "../../src/coherence/floors.rs"]
mod floors;
#[path = "../../src/coherence/marks.rs"]
mod marks;
#[path = "../../src/coherence/version.rs"]
mod version;

mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
}

const CACHE: u64 = 7;
const KEY: u64 = 2;
const TAG: u64 = 3;
const OLD: u64 = 1;
const NEW: u64 = 2;

/// Two stripes, so that key and tag have one each.
fn floors() -> Arc<Floors> {
    Arc::new(Floors::new(2))
}

/// Goal: what was read before an invalidation is never accepted after it. Method: a writer changes the
/// source and then raises a floor; a fill takes its token and then reads the source; another invalidation
/// fights for the same number.
fn an_old_value_is_not_accepted_after(target: Target) {
    loom::model(move || {
        let (floors, source) = (floors(), Arc::new(AtomicU64::new(OLD)));
        let writer = {
            let (floors, source) = (Arc::clone(&floors), Arc::clone(&source));
            thread::spawn(move || {
                source.store(NEW, Ordering::Relaxed);
                floors.raise(target, Effect::Remove);
            })
        };
        let other = {
            let floors = Arc::clone(&floors);
            thread::spawn(move || {
                floors.raise(Target::Cache(CACHE + 1), Effect::Expire);
            })
        };
        let token = floors.token();
        let value = source.load(Ordering::Relaxed);
        writer.join().expect("no panic");
        other.join().expect("no panic");
        let cache = floors.of_cache(CACHE);
        let passes = floors.passes(&cache, KEY, &[TAG], token.local);
        let standing = floors.standing(&cache, KEY, &[TAG], token.local);
        if value == OLD {
            assert!(!passes && standing == Standing::Removed);
        }
        assert!(
            !passes || standing == Standing::Valid,
            "the fast check is never kinder"
        );
    });
}

#[test]
fn a_fill_that_read_before_a_key_was_removed_is_not_accepted() {
    an_old_value_is_not_accepted_after(Target::Key(KEY));
}

#[test]
fn a_fill_that_read_before_a_tag_was_removed_is_not_accepted() {
    an_old_value_is_not_accepted_after(Target::Tag(TAG));
}

#[test]
fn a_fill_that_read_before_its_cache_was_removed_is_not_accepted() {
    an_old_value_is_not_accepted_after(Target::Cache(CACHE));
}

#[test]
fn a_hit_during_an_invalidation_does_not_let_the_entry_outlive_it() {
    loom::model(|| {
        let floors = floors();
        let cache = floors.of_cache(CACHE);
        let local = Arc::new(AtomicU64::new(floors.token().local));
        let raise = |target| {
            let floors = Arc::clone(&floors);
            thread::spawn(move || {
                floors.raise(target, Effect::Remove);
            })
        };
        let writer = raise(Target::Tag(TAG));
        let other = raise(Target::Cache(CACHE + 1));
        floors.admits(&cache, KEY, &[TAG], &local);
        floors.admits(&cache, KEY, &[TAG], &local);
        writer.join().expect("no panic");
        other.join().expect("no panic");
        assert!(!floors.admits(&cache, KEY, &[TAG], &local));
        let local = local.load(Ordering::Relaxed);
        let standing = floors.standing(&cache, KEY, &[TAG], local);
        assert_eq!(standing, Standing::Removed);
    });
}

/// Goal: forgetting removals of evicted keys brings no old value back to memory. Method: memory is one
/// place; a fill that is too old is put there and then settles, as the cache does it; a removal raises its
/// floor and then looks into memory; others make the floor be forgotten.
#[test]
fn a_fill_put_into_memory_too_late_is_not_served_when_its_removal_is_forgotten() {
    let mut model = loom::model::Builder::new();
    // With any number of preemptions, this takes hours.
    model.preemption_bound = Some(3);
    model.check(|| {
        let floors = Arc::new(Floors::new(1));
        let cache = floors.of_cache(CACHE);
        let token = floors.token().local;
        let memory = Arc::new(Mutex::new(None));
        let settled = Arc::new(AtomicU64::new(0));
        let remover = {
            let (floors, memory) = (Arc::clone(&floors), Arc::clone(&memory));
            thread::spawn(move || {
                floors.raise_and_evict(KEY, Effect::Remove);
                *memory.lock().expect("no panic") = None;
                for other in 10..14 {
                    floors.raise_and_evict(other, Effect::Remove);
                }
            })
        };
        *memory.lock().expect("no panic") = Some(token);
        if floors.standing(&cache, KEY, &[], token) == Standing::Removed {
            *memory.lock().expect("no panic") = None;
        } else {
            settled.store(1, Ordering::Release);
        }
        remover.join().expect("no panic");
        let held = *memory.lock().expect("no panic");
        let serves = held.is_some_and(|local| {
            let standing = if settled.load(Ordering::Acquire) == 1 {
                floors.standing_in_memory(&cache, KEY, &[], local)
            } else {
                floors.standing(&cache, KEY, &[], local)
            };
            standing != Standing::Removed
        });
        assert!(!serves, "it is older than the removal");
    });
}

#[test]
fn a_ticker_that_sleeps_is_woken_by_exactly_one_reader() {
    loom::model(|| {
        let clock = Arc::new(Coarse::new(true));
        clock.tick(10);
        let ticker = {
            let clock = Arc::clone(&clock);
            thread::spawn(move || clock.sleep())
        };
        let reader = {
            let clock = Arc::clone(&clock);
            thread::spawn(move || clock.read())
        };
        let first = clock.read();
        let second = reader.join().expect("no panic");
        ticker.join().expect("no panic");
        let told = [first, second, clock.read()];
        let woken = told.iter().filter(|told| **told == Reading::Wake);
        assert_eq!(woken.count(), 1, "{told:?}");
        clock.tick(20);
        assert_eq!(clock.read(), Reading::At(20));
    });
}

#[test]
fn a_reader_that_catches_up_undoes_neither_sleep_nor_end() {
    for ends in [false, true] {
        loom::model(move || {
            let clock = Arc::new(Coarse::new(true));
            clock.tick(10);
            let ticker = {
                let clock = Arc::clone(&clock);
                thread::spawn(move || {
                    clock.tick(11);
                    if ends { clock.end() } else { clock.sleep() }
                })
            };
            let first = clock.read();
            if let Reading::At(seen) = first {
                clock.catch_up(seen, 99);
            }
            ticker.join().expect("no panic");
            let sleeps = !ends && first != Reading::Wake;
            let expected = if sleeps {
                Reading::Wake
            } else {
                Reading::Exact
            };
            assert_eq!(clock.read(), expected);
        });
    }
}
