//! `Sampler`: which reads are looked at, and how the number of them is bounded.

use std::sync::{
    Mutex, MutexGuard, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    curve::Curve,
    distances::{Distances, KEYS_MAX},
    report::{Inputs, SizeAdvice},
};

/// Watches the reads of one cache; about 200 KiB once it is full.
///
/// A read whose key is not sampled costs one load and one comparison. A sampled one costs about 0.3 µs,
/// and of those there are at most 50,000 in a second: more, and fewer keys are sampled from then on.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Keys whose hash is below are sampled. Every read loads it, so what changes lies elsewhere.
    threshold: AtomicU64,
    ttl_ms: u64,
    counted: Box<Counted>,
}

#[derive(Debug)]
struct Counted {
    /// Sampled reads that were not counted, because another thread was counting one.
    missed: AtomicU64,
    sampled: Mutex<Sampled>,
}

#[derive(Debug)]
struct Sampled {
    distances: Distances,
    curve: Curve,
    /// As many sampled reads as the cache's reads let expect.
    expected: f64,
    /// All reads of the cache up to here are in `expected`.
    reads_seen: u64,
    pace: Pace,
}

/// Whether sampled reads come too fast: looked at once in [`PACE_READS`] of them.
#[derive(Debug, Default)]
struct Pace {
    reads: u64,
    began_ms: u64,
}

impl Sampler {
    /// For a cache of about `entries` whose values are fresh for `ttl_ms`.
    pub(crate) fn new(entries: usize, ttl_ms: u64) -> Self {
        let rate = KEYS_MAX as f64 / (entries as f64 * REACH);
        Self {
            threshold: AtomicU64::new(to_threshold(rate.clamp(RATE_MIN, 1.0))),
            ttl_ms,
            counted: Box::new(Counted {
                missed: AtomicU64::new(0),
                sampled: Mutex::new(Sampled {
                    distances: Distances::new(),
                    curve: Curve::new(),
                    expected: 0.0,
                    reads_seen: 0,
                    pace: Pace::default(),
                }),
            }),
        }
    }

    /// Looks at one read of memory, hit or miss, of the key with this stable hash.
    #[inline]
    pub(crate) fn record(&self, hash: u64, now_ms: impl FnOnce() -> u64) {
        if hash < self.threshold.load(Ordering::Relaxed) {
            self.record_sampled(hash, now_ms());
        }
    }

    #[cold]
    fn record_sampled(&self, hash: u64, now_ms: u64) {
        let mut sampled = match self.counted.sampled.try_lock() {
            Ok(sampled) => sampled,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.counted.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let sampled = &mut *sampled;
        let threshold = self.threshold.load(Ordering::Relaxed);
        if hash >= threshold {
            return;
        }
        let rate = to_rate(threshold);
        let distance = sampled.distances.read(hash, now_ms, self.ttl_ms);
        sampled.curve.add(distance, rate);
        if sampled.pace.too_fast(now_ms) {
            self.lower(sampled);
        }
    }

    /// Samples half of the keys from now on; what was counted counts half.
    fn lower(&self, sampled: &mut Sampled) {
        let threshold = self.threshold.load(Ordering::Relaxed) / 2;
        if to_rate(threshold) < RATE_MIN {
            return;
        }
        self.threshold.store(threshold, Ordering::Relaxed);
        sampled.distances.retain_below(threshold);
        sampled.curve.scale(0.5);
        // Reads since `reads_seen` are expected at the new rate, as what they gave was scaled to it.
        sampled.expected *= 0.5;
    }

    /// Says how many reads the cache had in all until now, and how many entries have room in it; for the
    /// housekeeping, each second or so.
    pub(crate) fn progress(&self, reads: u64, entries: usize) {
        let mut sampled = self.lock();
        self.catch_up(&mut sampled, reads);
        // It has room for more than was thought when it was made: fewer keys reach further.
        while KEYS_MAX as f64 / self.rate() < entries as f64 * REACH * 0.5
            && self.rate() / 2.0 > RATE_MIN
        {
            self.lower(&mut sampled);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sampled> {
        self.counted
            .sampled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn rate(&self) -> f64 {
        to_rate(self.threshold.load(Ordering::Relaxed))
    }

    /// What other sizes would have hit, for a cache that is as `inputs` says.
    pub(crate) fn advice(&self, inputs: &Inputs<'_>) -> SizeAdvice {
        let (curve, expected, keys) = {
            let mut sampled = self.lock();
            self.catch_up(&mut sampled, inputs.reads);
            let curve = sampled.curve.clone();
            (curve, sampled.expected, sampled.distances.keys())
        };
        let rate = self.rate();
        SizeAdvice::new(inputs, rate, keys, curve.reads(), |entries| {
            curve.hit_ratio(entries, expected)
        })
    }

    fn catch_up(&self, sampled: &mut Sampled, reads: u64) {
        let rate = self.rate();
        let missed = self.counted.missed.swap(0, Ordering::Relaxed) as f64;
        let new = reads.saturating_sub(sampled.reads_seen) as f64;
        sampled.reads_seen = sampled.reads_seen.max(reads);
        sampled.expected = (sampled.expected + new * rate - missed).max(0.0);
        if sampled.curve.reads() > READS_REMEMBERED {
            sampled.curve.scale(0.5);
            sampled.expected *= 0.5;
        }
    }
}

impl Pace {
    fn too_fast(&mut self, now_ms: u64) -> bool {
        if self.reads == 0 {
            self.began_ms = now_ms;
        }
        self.reads += 1;
        if self.reads < PACE_READS {
            return false;
        }
        self.reads = 0;
        now_ms.saturating_sub(self.began_ms) < PACE_MS
    }
}

fn to_threshold(rate: f64) -> u64 {
    // Saturates at the greatest hash for rate 1.
    (rate * u64::MAX as f64) as u64
}

fn to_rate(threshold: u64) -> f64 {
    threshold as f64 / u64::MAX as f64
}

/// The largest size on the chart, in sizes of the cache.
const REACH: f64 = 8.0;
/// Below, too few keys are left to say anything.
const RATE_MIN: f64 = 1.0 / 4096.0;
/// 5,000 reads in 100 ms are 50,000 in a second: 1.5 % of one core.
const PACE_READS: u64 = 5_000;
const PACE_MS: u64 = 100;
/// Then old reads count half, so that the advice follows the load.
const READS_REMEMBERED: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Inputs, KEYS_MAX, Sampler};
    use crate::{advice::SizePoint, chance::Chance, hash::mix, policy::Capacity, stats::Size};

    /// The exact reuse distances of a load, which say what an LRU cache of any size hits: a read hits
    /// if its distance is less than the size.
    fn exact_distances(load: &[u64]) -> Vec<usize> {
        // A Fenwick tree over the reads that are the last of their keys.
        let mut tree = vec![0_i32; load.len() + 1];
        let mut last = BTreeMap::new();
        let mut found = Vec::new();
        let add = |tree: &mut [i32], mut at: usize, count| {
            while at < tree.len() {
                tree[at] += count;
                at += at & at.wrapping_neg();
            }
        };
        for (read, key) in (1..).zip(load) {
            if let Some(before) = last.insert(key, read) {
                let (mut upto, mut at) = (0, before);
                while at > 0 {
                    upto += tree[at];
                    at &= at - 1;
                }
                found.push(last.len() - upto as usize);
                add(&mut tree, before, -1);
            }
            add(&mut tree, read, 1);
        }
        found
    }

    /// Keys by rank with probability in proportion to `1 / rank^skew`.
    struct Zipf(Vec<f64>);

    impl Zipf {
        fn new(keys: usize, skew: f64) -> Self {
            let mut sum = 0.0;
            Self(
                (1..=keys)
                    .map(|rank| {
                        sum += (rank as f64).powf(-skew);
                        sum
                    })
                    .collect(),
            )
        }

        fn draw(&self, chance: &Chance) -> u64 {
            let at = chance.unit() * self.0.last().expect("there are keys");
            self.0.partition_point(|sum| *sum < at) as u64
        }
    }

    fn zipf_load(keys: usize, skew: f64, reads: usize, seed: u64) -> Vec<u64> {
        let (zipf, chance) = (Zipf::new(keys, skew), Chance::seeded(seed));
        (0..reads).map(|_| zipf.draw(&chance)).collect()
    }

    /// A Zipf load through which a scan of keys that are read once passes every now and then.
    fn scanned_load(keys: usize, reads: usize, seed: u64) -> Vec<u64> {
        let mut load = Vec::with_capacity(reads);
        let mut once = 1 << 40;
        for chunk in zipf_load(keys, 0.9, reads * 3 / 4, seed).chunks(reads / 20) {
            load.extend_from_slice(chunk);
            load.extend(once..once + reads as u64 / 60);
            once += reads as u64 / 60;
        }
        load
    }

    #[test]
    fn a_cache_with_room_for_everything_is_sampled_too() {
        let sampler = Sampler::new(usize::MAX, u64::MAX);
        (0..500_000).for_each(|key| sampler.record(mix(key + 1), || key / 40));
        let keys = sampler.lock().distances.keys();
        assert!((60..200).contains(&keys), "{keys} of 500,000, one in 4,096");
    }

    /// The greatest difference to an exact LRU cache, at 1/8 to 8 times `size`.
    fn worst_error(load: &[u64], size: usize, salt: u64) -> f64 {
        let sampler = Sampler::new(size, u64::MAX);
        for (reads, key) in load.iter().enumerate() {
            // A read each 25 us: below the pace at which fewer are sampled.
            sampler.record(mix(key ^ salt), || reads as u64 / 40);
            if reads % 10_000 == 0 {
                sampler.progress(reads as u64, size);
            }
        }
        let advice = sampler.advice(&Inputs {
            cache: "users",
            capacity: Capacity::Entries(size),
            size: Size::default(),
            reads: load.len() as u64,
            measured: 0.5,
        });
        assert!(advice.keys_sampled <= KEYS_MAX);
        let off = |point: &SizePoint| (exact_ratio(load, point.entries) - point.hit_ratio).abs();
        advice.points.iter().map(off).fold(0.0, f64::max)
    }

    fn exact_ratio(load: &[u64], size: u64) -> f64 {
        let distances = exact_distances(load);
        let hits = distances
            .iter()
            .filter(|distance| (**distance as u64) < size);
        hits.count() as f64 / load.len() as f64
    }

    #[test]
    fn the_prediction_is_within_three_points_of_an_exact_lru_on_zipf_loads() {
        for (seed, skew) in [(1, 0.8), (2, 1.1)] {
            let load = zipf_load(60_000, skew, 200_000, seed);
            let error = worst_error(&load, 3_000, seed);
            assert!(error < 0.03, "seed {seed}, skew {skew}: {error:.4} off");
        }
    }

    #[test]
    fn the_prediction_is_within_three_points_of_an_exact_lru_on_scanned_loads() {
        for seed in 1..=2 {
            let load = scanned_load(60_000, 200_000, seed);
            let error = worst_error(&load, 3_000, seed);
            assert!(error < 0.03, "seed {seed}: {error:.4} off");
        }
    }

    #[test]
    fn a_small_cache_is_told_within_three_points_too() {
        for seed in 1..=2 {
            let load = zipf_load(20_000, 0.9, 150_000, seed);
            let error = worst_error(&load, 1_000, seed);
            assert!(error < 0.03, "seed {seed}: {error:.4} off");
        }
    }

    /// Why the advice may say "LRU" of a cache that is none.
    #[test]
    fn the_memory_tiers_own_policy_hits_more_than_an_lru() {
        let loads = [
            zipf_load(60_000, 1.0, 300_000, 1),
            scanned_load(60_000, 300_000, 1),
        ];
        for (load, gain) in loads.iter().zip([0.04, 0.05]) {
            let mut cache = quick_cache::unsync::Cache::new(3_000);
            let mut hits = 0;
            for key in load {
                if cache.get(key).is_some() {
                    hits += 1;
                } else {
                    cache.insert(*key, ());
                }
            }
            let ratio = f64::from(hits) / load.len() as f64;
            let lru = exact_ratio(load, 3_000);
            assert!(ratio > lru + gain, "{ratio:.4} against {lru:.4} of LRU");
        }
    }

    #[test]
    fn a_storm_of_reads_lowers_the_rate_and_not_the_answer() {
        let sampler = Sampler::new(1_000, u64::MAX);
        let chance = Chance::seeded(1);
        // All within one millisecond.
        (0..500_000).for_each(|_| sampler.record(mix(chance.draw() % 500_000), || 0));
        let advice = sampler.advice(&Inputs {
            cache: "users",
            capacity: Capacity::Entries(1_000),
            size: Size::default(),
            reads: 500_000,
            measured: 0.0,
        });
        assert!(advice.rate < 1.0 / 60.0, "{}", advice.rate);
        assert!(advice.points.iter().all(|point| point.hit_ratio < 0.05));
    }
}
