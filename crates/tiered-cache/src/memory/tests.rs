//! The memory tier alone: what is kept, what leaves, and where values are dropped.

use std::sync::{Arc, Mutex, atomic::AtomicBool};

use super::*;
use crate::coherence::Version;

fn entry<T>(value: T, keep_until: u64) -> Arc<Entry<T>> {
    let times = Times {
        filled: 0,
        refresh_from: u64::MAX,
        fresh_until: keep_until,
        revalidate_until: keep_until,
        keep_until,
        idle_ms: 0,
        cost_ms: 0,
    };
    let meta = Meta {
        seen: AtomicU64::new(1),
        key: 0,
        tags: Box::default(),
        times,
        shared: Version(0),
        validator: None,
        read: AtomicU64::new(0),
        local: AtomicU64::new(1),
        settled: AtomicBool::new(false),
        bytes: 0,
    };
    Arc::new(Entry::new(value, meta))
}

fn slot(value: u64) -> Slot<u64> {
    Slot::Value(entry(value, u64::MAX))
}

fn keys<V: Send + Sync + 'static>(memory: &Memory<u64, V>) -> Vec<u64> {
    let mut keys = Vec::new();
    memory.for_each_key(|key| keys.push(*key));
    keys.sort_unstable();
    keys
}

fn value(memory: &Memory<u64, u64>, key: u64) -> Option<u64> {
    match memory.get(&key) {
        Some(Slot::Value(entry)) => Some(*entry.value()),
        _ => None,
    }
}

/// So large that only the weigher's figure matters.
fn weighed(capacity: u64) -> Memory<u64, u64> {
    let weigh: Weigh<u64, u64> = Arc::new(|_, bytes| *bytes as usize);
    Memory::new(Capacity::Bytes(capacity), Some(weigh), Some(1))
}

#[test]
fn the_last_insertion_of_a_key_is_what_is_there() {
    let memory = Memory::new(Capacity::Entries(10), None, None);
    assert!(memory.insert(1, slot(10), 0));
    assert!(memory.insert(1, slot(11), 0));
    assert_eq!(value(&memory, 1), Some(11));
    assert_eq!(memory.len(), 1);
    assert_eq!(memory.evicted(), 0, "a replacement is no eviction");
}

#[test]
fn no_more_entries_are_kept_than_there_is_room_for() {
    let memory = Memory::new(Capacity::Entries(100), None, None);
    for key in 0..1000 {
        memory.insert(key, slot(key), 0);
    }
    assert_eq!(memory.len(), 100);
    assert_eq!(memory.evicted(), 900);
}

#[test]
fn no_more_bytes_are_kept_than_there_is_room_for() {
    let memory = weighed(1 << 20);
    for key in 0..100 {
        memory.insert(key, slot(100_000), 0);
    }
    assert_eq!(memory.len(), 10);
    assert!((1_000_000..=1 << 20).contains(&memory.bytes()));
}

#[test]
fn bytes_are_given_back_by_every_way_out() {
    let memory = weighed(1 << 20);
    let one = |memory: &Memory<u64, u64>| memory.insert(1, slot(1000), 0);
    one(&memory);
    let bytes = memory.bytes();
    assert!(bytes > 1000);
    one(&memory);
    assert_eq!(memory.bytes(), bytes, "replaced");
    memory.remove(&1);
    assert_eq!(memory.bytes(), 0, "removed");
    one(&memory);
    assert!(memory.remove_if(&1, |_| false).is_none());
    assert!(memory.remove_if(&1, |_| true).is_some());
    assert_eq!(memory.bytes(), 0, "removed on a condition");
    one(&memory);
    memory.clear();
    assert_eq!((memory.bytes(), memory.len()), (0, 0), "cleared");
    memory.insert(1, Slot::Value(entry(1000, 50)), 0);
    assert_eq!(memory.sweep(50, 10), 1);
    assert_eq!(memory.bytes(), 0, "swept");
    one(&memory);
    assert!(!memory.insert(1, slot(2 << 20), 0));
    assert_eq!(memory.bytes(), 0, "displaced by one that is too large");
}

#[test]
fn an_entry_that_is_too_large_is_refused_and_displaces_only_its_own_key() {
    let memory = weighed(1 << 20);
    memory.insert(1, slot(1000), 0);
    memory.insert(2, slot(1000), 0);
    assert!(!memory.insert(2, slot(1 << 20), 0));
    assert_eq!(keys(&memory), [1]);
    assert_eq!(memory.evicted(), 0);
}

#[test]
fn a_lower_budget_evicts_at_once_and_a_higher_one_makes_room() {
    let memory = Memory::new(Capacity::Entries(1000), None, None);
    for key in 0..1000 {
        memory.insert(key, slot(key), 0);
    }
    assert!(memory.set_budget(Capacity::Entries(100)));
    assert!(memory.len() <= 100);
    assert!(memory.set_budget(Capacity::Entries(2)));
    assert!(memory.set_budget(Capacity::Entries(1000)));
    for key in 0..10_000 {
        memory.insert(key, slot(key), 0);
    }
    assert!((900..=1000).contains(&memory.len()), "{}", memory.len());
}

#[test]
fn a_budget_of_the_other_kind_changes_nothing() {
    let memory: Memory<u64, u64> = Memory::new(Capacity::Entries(100), None, None);
    assert!(!memory.set_budget(Capacity::Bytes(1)));
    assert!(matches!(memory.capacity(), Capacity::Entries(100)));
}

#[test]
fn a_sweep_looks_at_as_many_as_it_may_and_goes_on_where_it_stopped() {
    let memory = Memory::new(Capacity::Entries(1000), None, None);
    for key in 0..100 {
        let keep_until = if key % 2 == 0 { 50 } else { 150 };
        memory.insert(key, Slot::Value(entry(key, keep_until)), 0);
    }
    assert_eq!(memory.sweep(49, 1000), 0, "none is past its time");
    let mut removed = Vec::new();
    while memory.len() > 50 {
        removed.push(memory.sweep(50, 10));
    }
    assert!(removed.iter().all(|removed| *removed <= 10));
    assert!(removed.len() <= 12, "ten slices, and the end of two rounds");
    assert_eq!(
        keys(&memory),
        (0..100).filter(|key| key % 2 == 1).collect::<Vec<_>>()
    );
    assert_eq!(memory.sweep(150, 1000) + memory.sweep(150, 1000), 50);
    assert_eq!(memory.evicted(), 0, "who expires is not evicted");
}

#[test]
fn the_same_seed_evicts_the_same_entries() {
    let run = |seed| {
        let memory = Memory::new(Capacity::Entries(50), None, Some(seed));
        for key in 0..500_u64 {
            memory.insert(key, slot(key), 0);
            memory.get(&(key * 7 % 60));
        }
        keys(&memory)
    };
    assert_eq!(run(1), run(1));
}

#[test]
fn a_known_absence_and_a_packed_value_are_kept_like_values() {
    let memory: Memory<u64, u64> = Memory::new(Capacity::Bytes(1 << 20), None, Some(1));
    memory.insert(1, Slot::Absent(entry((), 10)), 0);
    memory.insert(2, Slot::Packed(entry(vec![0; 1000].into(), 10)), 1000);
    assert!(matches!(memory.get(&1), Some(Slot::Absent(_))));
    assert!(matches!(memory.get(&2), Some(Slot::Packed(_))));
    assert!(memory.bytes() > 1000);
    assert_eq!(memory.sweep(10, 10), 2);
}

/// Looks into the tier while it is dropped, which would never end under the lock of its shard.
struct Nosy(Arc<Mutex<Place>>);

type Place = Option<Arc<Memory<u64, Nosy>>>;

impl Drop for Nosy {
    fn drop(&mut self) {
        let memory = self.0.lock().expect("no panic").clone();
        if let Some(memory) = memory {
            memory.insert(u64::MAX, Slot::Absent(entry((), 1)), 0);
            memory.len();
        }
    }
}

#[test]
fn values_are_dropped_outside_the_locks() {
    let place = Arc::new(Mutex::new(None));
    let memory = Arc::new(Memory::new(Capacity::Entries(4), None, Some(1)));
    *place.lock().expect("no panic") = Some(Arc::clone(&memory));
    let insert = |key| {
        let nosy = Nosy(Arc::clone(&place));
        memory.insert(key, Slot::Value(entry(nosy, 10)), 0);
    };
    for key in 0..20 {
        insert(key % 10);
    }
    memory.set_budget(Capacity::Entries(2));
    memory.remove(&0);
    insert(1);
    memory.sweep(10, 100);
    insert(2);
    memory.clear();
    assert!(memory.len() <= 2);
    *place.lock().expect("no panic") = None;
}
