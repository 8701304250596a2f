//! `Successors`: which keys are loaded soon after which, learned from the loads themselves in bounded
//! space.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Learns pairs of loads that the same task makes one after the other, and tells what to load ahead.
///
/// It holds at most four successors for each of 4,096 keys. Only loads pass here, hits do not.
pub(crate) struct Successors<K> {
    table: Mutex<Table<K>>,
}

impl<K: Clone + PartialEq> Successors<K> {
    /// Loads ahead what followed in at least this share of the loads of a key, 0 to 1.
    pub(crate) fn new(confidence: f64) -> Self {
        Self {
            table: Mutex::new(Table::new(confidence)),
        }
    }

    /// The task `session` loads `key`, or is the first to read it after it was loaded ahead; returns the
    /// keys that it will probably load next.
    pub(crate) fn loaded(&self, session: u64, hash: u64, key: &K, now_ms: u64) -> Vec<K> {
        let mut table = self.lock();
        table.learn(session, hash, key, now_ms);
        table.next_of(hash)
    }

    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> fmt::Debug for Successors<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Successors").finish_non_exhaustive()
    }
}

struct Table<K> {
    confidence: f64,
    nodes: BTreeMap<u64, Node<K>>,
    /// The nodes in the order of their making: the oldest makes room.
    order: VecDeque<u64>,
    /// The last load of some sessions, by their number; a session may push out another.
    last: Vec<Option<Last>>,
}

struct Node<K> {
    loads: u32,
    next: Vec<(K, u32)>,
}

#[derive(Clone, Copy)]
struct Last {
    session: u64,
    hash: u64,
    at_ms: u64,
}

impl<K: Clone + PartialEq> Table<K> {
    fn new(confidence: f64) -> Self {
        Self {
            confidence,
            nodes: BTreeMap::new(),
            order: VecDeque::new(),
            last: vec![None; SESSIONS],
        }
    }

    fn learn(&mut self, session: u64, hash: u64, key: &K, now_ms: u64) {
        let now = Last {
            session,
            hash,
            at_ms: now_ms,
        };
        let before = self.last[session as usize % SESSIONS].replace(now);
        if let Some(before) = before
            && before.session == session
            && before.hash != hash
            && now_ms.saturating_sub(before.at_ms) <= SOON_MS
            && let Some(node) = self.nodes.get_mut(&before.hash)
        {
            node.follow(key);
        }
        self.node(hash).load();
    }

    fn next_of(&self, hash: u64) -> Vec<K> {
        let Some(node) = self.nodes.get(&hash) else {
            return Vec::new();
        };
        let sure = |count: u32| {
            count >= SEEN_MIN && f64::from(count) >= self.confidence * f64::from(node.loads)
        };
        let next = node.next.iter().filter(|(_, count)| sure(*count));
        next.map(|(key, _)| key.clone()).collect()
    }

    fn node(&mut self, hash: u64) -> &mut Node<K> {
        if !self.nodes.contains_key(&hash) {
            if self.order.len() == NODES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.nodes.remove(&oldest);
            }
            self.order.push_back(hash);
        }
        self.nodes.entry(hash).or_insert_with(|| Node {
            loads: 0,
            next: Vec::new(),
        })
    }
}

impl<K: Clone + PartialEq> Node<K> {
    fn load(&mut self) {
        self.loads += 1;
        if self.loads > LOADS_REMEMBERED {
            self.loads /= 2;
            self.next.iter_mut().for_each(|(_, count)| *count /= 2);
        }
    }

    fn follow(&mut self, key: &K) {
        if let Some((_, count)) = self.next.iter_mut().find(|(next, _)| next == key) {
            // Not more often than the key itself was loaded.
            *count = (*count + 1).min(self.loads);
            return;
        }
        if self.next.len() < NEXT_MAX {
            self.next.push((key.clone(), 1));
        } else if let Some(rarest) = self.next.iter_mut().min_by_key(|(_, count)| *count) {
            // One that is common outlives a few that are not.
            // It may be zero already, when older loads were made to count half.
            rarest.1 = rarest.1.saturating_sub(1);
            if rarest.1 == 0 {
                *rarest = (key.clone(), 1);
            }
        }
    }
}

const NODES_MAX: usize = 4096;
const NEXT_MAX: usize = 4;
const SESSIONS: usize = 256;
/// What comes later has another reason.
const SOON_MS: u64 = 1_000;
/// Twice may be chance.
const SEEN_MIN: u32 = 3;
/// Then older loads count half, so that habits may change.
const LOADS_REMEMBERED: u32 = 64;

#[cfg(test)]
mod tests {
    use super::{NEXT_MAX, NODES_MAX, Successors, Table};

    /// Loads 10 and then each of `next`, as one task would, `times` times.
    fn habit(successors: &Successors<u64>, next: &[u64], times: usize) {
        for _ in 0..times {
            successors.loaded(1, 10, &10, 0);
            for key in next {
                successors.loaded(1, *key, key, 0);
            }
        }
    }

    #[test]
    fn what_follows_often_enough_is_told_and_nothing_before() {
        let successors = Successors::new(0.5);
        habit(&successors, &[20, 30], 2);
        assert_eq!(successors.loaded(1, 10, &10, 0), [0; 0]);
        habit(&successors, &[20, 30], 2);
        assert_eq!(successors.loaded(1, 10, &10, 0), [20]);
        assert_eq!(successors.loaded(1, 20, &20, 0), [30]);
    }

    #[test]
    fn tasks_do_not_mix_and_what_comes_late_does_not_count() {
        let successors = Successors::new(0.5);
        for round in 0..10 {
            let now = round * 10_000;
            successors.loaded(1, 10, &10, now);
            successors.loaded(2, 20, &20, now);
            successors.loaded(1, 30, &30, now + 2_000);
        }
        assert_eq!(successors.loaded(1, 10, &10, 0), [0; 0]);
    }

    #[test]
    fn a_pair_lives_on_by_the_reads_of_what_it_loaded_ahead_and_dies_without() {
        let successors = Successors::new(0.5);
        habit(&successors, &[20], 5);
        for _ in 0..200 {
            assert_eq!(successors.loaded(1, 10, &10, 0), [20]);
            successors.loaded(1, 20, &20, 0);
        }
        // Nobody reads 20 after 10 any more.
        let told = (0..200).filter(|_| !successors.loaded(1, 10, &10, 0).is_empty());
        assert!(told.count() < 80);
    }

    #[test]
    fn the_space_is_bounded() {
        let mut table = Table::new(0.5);
        for key in 0..NODES_MAX as u64 * 2 {
            table.learn(key % 1_000, key, &key, 0);
        }
        assert_eq!(
            (table.nodes.len(), table.order.len()),
            (NODES_MAX, NODES_MAX)
        );
        for key in 0..1_000 {
            table.learn(1, 77_777, &77_777, 0);
            table.learn(1, key, &key, 0);
        }
        assert!(table.nodes[&77_777].next.len() <= NEXT_MAX);
    }
}
