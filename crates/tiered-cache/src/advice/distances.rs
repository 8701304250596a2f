//! Reuse distances: how many other sampled keys were read since the last read of the same key.

use std::collections::BTreeMap;

/// The sampled keys in the order of their last reads; at most [`KEYS_MAX`], about 200 KiB.
#[derive(Debug)]
pub(super) struct Distances {
    /// By hash, so that those above a lower threshold are the last ones.
    samples: BTreeMap<u64, Sample>,
    /// Bit `n` is set while some key was read last at position `n`.
    last_reads: Vec<u64>,
    /// The key that was read at each position.
    hash_at: Vec<u64>,
    next: usize,
    /// No bit is set below.
    oldest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    position: usize,
    loaded_ms: u64,
}

impl Distances {
    pub(super) fn new() -> Self {
        Self {
            samples: BTreeMap::new(),
            last_reads: vec![0; POSITIONS / 64],
            hash_at: vec![0; POSITIONS],
            next: 0,
            oldest: 0,
        }
    }

    /// Counts a read at `now_ms`: how many other keys were read since the last one. `None` when it could
    /// not have been a hit: it is the first, [`KEYS_MAX`] others were read since, or the value has outlived
    /// `ttl_ms`.
    pub(super) fn read(&mut self, hash: u64, now_ms: u64, ttl_ms: u64) -> Option<usize> {
        if self.next == POSITIONS {
            self.renumber();
        }
        let position = self.next;
        self.next += 1;
        self.set(position, true);
        self.hash_at[position] = hash;
        let first = Sample {
            position,
            loaded_ms: now_ms,
        };
        let Some(sample) = self.samples.get_mut(&hash) else {
            self.samples.insert(hash, first);
            if self.samples.len() > KEYS_MAX {
                self.forget_oldest();
            }
            return None;
        };
        let last = std::mem::replace(sample, first);
        let fresh = now_ms.saturating_sub(last.loaded_ms) < ttl_ms;
        if fresh {
            sample.loaded_ms = last.loaded_ms;
        }
        self.set(last.position, false);
        // The read itself is among them.
        fresh.then(|| self.read_since(last.position) - 1)
    }

    /// Gives up every key whose hash is not below `threshold`.
    pub(super) fn retain_below(&mut self, threshold: u64) {
        for sample in self.samples.split_off(&threshold).values() {
            self.set(sample.position, false);
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.samples.len()
    }

    fn set(&mut self, position: usize, read: bool) {
        let word = &mut self.last_reads[position / 64];
        let bit = 1 << (position % 64);
        *word = if read { *word | bit } else { *word & !bit };
    }

    fn read_since(&self, position: usize) -> usize {
        let (word, bit) = (position / 64, position % 64);
        let first = (self.last_reads[word] >> bit).count_ones();
        let end = self.next.div_ceil(64);
        let rest = self.last_reads[word + 1..end.max(word + 1)].iter();
        (first + rest.map(|word| word.count_ones()).sum::<u32>()) as usize
    }

    /// Gives up the key that was not read for the longest time: at its next read, more than [`KEYS_MAX`]
    /// others would have been.
    fn forget_oldest(&mut self) {
        while self.oldest < self.next {
            let position = self.oldest;
            self.oldest += 1;
            if self.last_reads[position / 64] & (1 << (position % 64)) != 0 {
                self.set(position, false);
                self.samples.remove(&self.hash_at[position]);
                return;
            }
        }
    }

    /// Moves the keys to the first positions, in their order; allocates nothing.
    fn renumber(&mut self) {
        let mut next = 0;
        for position in 0..POSITIONS {
            if self.last_reads[position / 64] & (1 << (position % 64)) == 0 {
                continue;
            }
            let hash = self.hash_at[position];
            if let Some(sample) = self.samples.get_mut(&hash) {
                sample.position = next;
                self.hash_at[next] = hash;
                next += 1;
            }
        }
        self.next = next;
        self.oldest = 0;
        self.last_reads.fill(0);
        (0..next).for_each(|position| self.set(position, true));
    }
}

/// The paper's errors are below one point from a few thousand samples on.
pub(super) const KEYS_MAX: usize = 4096;
/// Twice as many, so that the keys are renumbered at most once in `KEYS_MAX` reads.
const POSITIONS: usize = 2 * KEYS_MAX;

#[cfg(test)]
mod tests {
    use super::{Distances, KEYS_MAX, POSITIONS};

    #[test]
    fn a_distance_counts_the_other_keys_since_the_last_read_once_each() {
        let mut distances = Distances::new();
        let mut read = |key| distances.read(key, 0, u64::MAX);
        let found = [1, 2, 3, 2, 2, 1, 1, 3].map(&mut read);
        let wanted = [
            None,
            None,
            None,
            Some(1),
            Some(0),
            Some(2),
            Some(0),
            Some(2),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn distances_are_exact_across_renumbering() {
        let mut distances = Distances::new();
        let keys = 1_000;
        for read in 0..POSITIONS as u64 * 3 {
            let distance = distances.read(read % keys, 0, u64::MAX);
            let wanted = (read >= keys).then_some(keys as usize - 1);
            assert_eq!(distance, wanted, "read {read}");
        }
    }

    #[test]
    fn a_value_past_its_ttl_is_a_miss_at_any_size_and_begins_anew() {
        let mut distances = Distances::new();
        let found = [0, 9, 10, 19, 20].map(|now| distances.read(1, now, 10));
        assert_eq!(found, [None, Some(0), None, Some(0), None]);
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_the_oldest_is_forgotten() {
        let mut distances = Distances::new();
        for round in 0..3 {
            for key in 0..=KEYS_MAX as u64 {
                let distance = distances.read(key, 0, u64::MAX);
                assert_eq!(distance, None, "key {key} in round {round}");
            }
            assert_eq!(distances.keys(), KEYS_MAX);
        }
        assert_eq!(distances.read(1, 0, u64::MAX), Some(KEYS_MAX - 1));
    }

    #[test]
    fn keys_above_a_lower_threshold_are_given_up() {
        let mut distances = Distances::new();
        for key in 0..5 {
            distances.read(key, 0, u64::MAX);
        }
        distances.retain_below(3);
        assert_eq!(distances.keys(), 3);
        let found = [0, 4].map(|key| distances.read(key, 0, u64::MAX));
        assert_eq!(found, [Some(2), None]);
    }
}
