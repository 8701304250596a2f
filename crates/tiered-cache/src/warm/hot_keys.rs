//! `HotKeys`: the keys that are read most, from a sample of the reads, in bounded space (Space-Saving:
//! Metwally, Agrawal and El Abbadi, ICDT 2005), with old reads counting ever less.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap},
    fmt,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

/// Watches one cache's reads for its `top` hottest keys.
///
/// A read that is not sampled costs a counter of its own thread. One in 16 is sampled, and given up when
/// another thread counts one at the moment. It holds four keys for each one asked for.
pub(crate) struct HotKeys<K> {
    top: usize,
    counts: Mutex<Counts<K>>,
}

impl<K: Hash + Eq + Clone> HotKeys<K> {
    pub(crate) fn new(top: usize) -> Self {
        Self {
            top,
            counts: Mutex::new(Counts::new(top.saturating_mul(4).max(16))),
        }
    }

    /// Counts a read of the key, or does not.
    #[inline]
    pub(crate) fn record(&self, key: &K) {
        if sampled() {
            self.count(key);
        }
    }

    #[cold]
    fn count(&self, key: &K) {
        if let Ok(mut counts) = self.counts.try_lock() {
            counts.add(key);
        }
    }

    /// Lets what was counted so far count less, by half for each [`HALF_LIFE_MS`]; for the housekeeping.
    pub(crate) fn age(&self, now_ms: u64) {
        self.lock().age(now_ms);
    }

    /// The hottest keys, the hottest first; keys that were sampled only once are not among them.
    pub(crate) fn top(&self) -> Vec<K> {
        self.lock().top(self.top)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts<K>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> fmt::Debug for HotKeys<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotKeys")
            .field("top", &self.top)
            .finish_non_exhaustive()
    }
}

/// Whether this read is one of the sample. The distances between samples vary, or else a program that
/// reads its keys in a fixed order would be sampled at the same ones for ever; they are the same at
/// each run.
fn sampled() -> bool {
    thread_local! {
        static LEFT: Cell<u32> = const { Cell::new(1) };
        static STEP: Cell<u32> = const { Cell::new(0) };
    }
    let left = LEFT.get() - 1;
    if left > 0 {
        LEFT.set(left);
        return false;
    }
    let step = STEP.get().wrapping_add(0x9e37_79b9);
    STEP.set(step);
    LEFT.set(1 + (step >> 16) % (2 * SAMPLE - 1));
    true
}

/// The counting itself: when there is no room, a new key takes over the place and the count of the
/// coldest one, so that a key that is read often enough is never missed.
struct Counts<K> {
    places_max: usize,
    places: Vec<Place<K>>,
    place_of: HashMap<K, usize>,
    /// Count and place, coldest first.
    by_count: BTreeSet<(u64, usize)>,
    aged_ms: Option<u64>,
}

struct Place<K> {
    key: K,
    count: u64,
    /// How much of the count was taken over from other keys.
    inherited: u64,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn new(places_max: usize) -> Self {
        Self {
            places_max,
            places: Vec::new(),
            place_of: HashMap::new(),
            by_count: BTreeSet::new(),
            aged_ms: None,
        }
    }

    fn add(&mut self, key: &K) {
        if let Some(&at) = self.place_of.get(key) {
            let place = &mut self.places[at];
            self.by_count.remove(&(place.count, at));
            place.count += 1;
            self.by_count.insert((place.count, at));
            return;
        }
        if self.places.len() < self.places_max {
            let at = self.places.len();
            self.places.push(Place {
                key: key.clone(),
                count: 1,
                inherited: 0,
            });
            self.place_of.insert(key.clone(), at);
            self.by_count.insert((1, at));
        } else if let Some((count, at)) = self.by_count.pop_first() {
            let taken_over = Place {
                key: key.clone(),
                count: count + 1,
                inherited: count,
            };
            let cold = std::mem::replace(&mut self.places[at], taken_over);
            self.place_of.remove(&cold.key);
            self.place_of.insert(key.clone(), at);
            self.by_count.insert((count + 1, at));
        }
    }

    fn age(&mut self, now_ms: u64) {
        let since = *self.aged_ms.get_or_insert(now_ms);
        let halvings = now_ms.saturating_sub(since) / HALF_LIFE_MS;
        if halvings == 0 {
            return;
        }
        self.aged_ms = Some(since + halvings * HALF_LIFE_MS);
        let shift = halvings.min(63);
        for place in &mut self.places {
            place.count >>= shift;
            place.inherited >>= shift;
        }
        let counts = self.places.iter().map(|place| place.count);
        self.by_count = counts.zip(0..).collect();
    }

    fn top(&self, keys: usize) -> Vec<K> {
        let mut sure: Vec<_> = (self.places.iter().enumerate())
            .map(|(at, place)| (place.count - place.inherited, at))
            .filter(|(count, _)| *count > 1)
            .collect();
        sure.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        sure.truncate(keys);
        let key = |(_, at): (u64, usize)| self.places[at].key.clone();
        sure.into_iter().map(key).collect()
    }
}

const SAMPLE: u32 = 16;
/// The manifest is to name what was hot lately, and to survive a quiet lunch break.
const HALF_LIFE_MS: u64 = 20 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::{Counts, HALF_LIFE_MS, HotKeys};
    use crate::chance::Chance;

    #[test]
    fn the_hottest_keys_are_found_among_many_more_cold_ones() {
        let hot_keys = HotKeys::new(10);
        let chance = Chance::seeded(1);
        for _ in 0..200_000 {
            // Half of the reads go to ten keys, the others to a hundred thousand.
            let draw = chance.draw();
            let key = match draw & 1 {
                0 => (draw >> 1) % 10,
                _ => 10 + (draw >> 1) % 100_000,
            };
            hot_keys.record(&key);
        }
        let mut top = hot_keys.top();
        top.sort_unstable();
        assert_eq!(top, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_space_is_bounded_and_a_new_hot_key_finds_a_place() {
        let mut counts = Counts::new(16);
        (0..10_000).for_each(|key| counts.add(&key));
        assert_eq!((counts.places.len(), counts.place_of.len()), (16, 16));
        (0..100).for_each(|_| counts.add(&77_777));
        assert_eq!(counts.top(4), [77_777]);
    }

    #[test]
    fn what_was_hot_long_ago_gives_way() {
        let mut counts = Counts::new(16);
        counts.age(5);
        (0..1_000).for_each(|_| counts.add(&1));
        (0..600).for_each(|_| counts.add(&3));
        counts.age(5 + HALF_LIFE_MS);
        assert_eq!(counts.top(2), [1, 3]);
        (0..300).for_each(|_| counts.add(&3));
        assert_eq!(counts.top(2), [3, 1]);
        counts.age(5 + 40 * HALF_LIFE_MS);
        assert_eq!(counts.top(2), [0; 0]);
    }
}
