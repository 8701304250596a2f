//! How often the memory tier hits, beside LRU, the optimum and other caches of the same number of entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::FutureExt as _;
use harness::{Effort, Figures, Suite};
use tiered_cache::TieredCache;

use crate::data::{policy, zipf};

pub(crate) fn add(suite: &mut Suite) {
    for (name, about, load) in LOADS {
        let about = format!(
            "misses per 100 reads, {about}; 1,000 entries; opt: Belady, which knows the future"
        );
        suite.figures(name, &about, move |figures| ratio(figures, load));
    }
}

type Load = fn(&mut fastrand::Rng, usize) -> Vec<u64>;

const LOADS: [(&str, &str, Load); 3] = [
    ("ratio-zipf", "20,000 keys, Zipf-like", zipf_alone),
    (
        "ratio-scans",
        "the same, interrupted by scans of 2,000 keys that are never read again: every fifth read",
        with_scans,
    ),
    (
        "ratio-shift",
        "the popular keys change four times",
        shifting,
    ),
];

const KEYS: u64 = 20_000;
const ENTRIES: usize = 1_000;

fn ratio(figures: &mut Figures<'_>, load: Load) {
    let reads = match figures.effort() {
        Effort::Smoke => 2_000,
        Effort::Quick => 200_000,
        Effort::Normal | Effort::Full => 1_000_000,
    };
    let keys = load(&mut fastrand::Rng::with_seed(5), reads);
    let ours: TieredCache<u64, u64> =
        TieredCache::memory("bench", policy(ENTRIES)).expect("a policy");
    let share = misses(&keys, |key| {
        let hit = ours
            .get(&key)
            .now_or_never()
            .is_some_and(|found| found.is_hit());
        if !hit {
            ours.insert(&key, key)
                .now_or_never()
                .expect("no lower tier");
        }
        hit
    });
    figures.ours("misses", "%", &[share]);
    let quick = quick_cache::sync::Cache::<u64, u64>::new(ENTRIES);
    let share = misses(&keys, |key| {
        let hit = quick.get(&key).is_some();
        if !hit {
            quick.insert(key, key);
        }
        hit
    });
    figures.peer("quick_cache", "misses", "%", &[share]);
    let moka: moka::sync::Cache<u64, u64> = moka::sync::Cache::new(ENTRIES as u64);
    let share = misses(&keys, |key| {
        let hit = moka.get(&key).is_some();
        if !hit {
            moka.insert(key, key);
        }
        hit
    });
    figures.peer("moka", "misses", "%", &[share]);
    let foyer: foyer::Cache<u64, u64> = foyer::CacheBuilder::new(ENTRIES).build();
    let share = misses(&keys, |key| {
        let hit = foyer.get(&key).is_some();
        if !hit {
            foyer.insert(key, key);
        }
        hit
    });
    figures.peer("foyer", "misses", "%", &[share]);
    figures.peer("LRU", "misses", "%", &[lru(&keys)]);
    figures.peer("opt", "misses", "%", &[optimum(&keys)]);
}

/// The share of reads that miss, in percent, after the first tenth has warmed the cache.
fn misses(keys: &[u64], mut hit: impl FnMut(u64) -> bool) -> f64 {
    let (warming, counted) = keys.split_at(keys.len() / 10);
    warming.iter().for_each(|key| _ = hit(*key));
    let missed = counted.iter().filter(|key| !hit(**key)).count();
    missed as f64 * 100.0 / counted.len() as f64
}

fn lru(keys: &[u64]) -> f64 {
    let (mut last, mut order, mut now) = (HashMap::new(), BTreeMap::new(), 0_u64);
    misses(keys, |key| {
        now += 1;
        let before = last.insert(key, now);
        before.map(|before| order.remove(&before));
        order.insert(now, key);
        if order.len() > ENTRIES
            && let Some((_, oldest)) = order.pop_first()
        {
            last.remove(&oldest);
        }
        before.is_some()
    })
}

/// Evicts what is read again last (Belady 1966), and does not take in what would be evicted at once.
fn optimum(keys: &[u64]) -> f64 {
    let mut next = vec![usize::MAX; keys.len()];
    let mut seen: HashMap<u64, usize> = HashMap::new();
    for (at, key) in keys.iter().enumerate().rev() {
        if let Some(later) = seen.insert(*key, at) {
            next[at] = later;
        }
    }
    // By the place of the next read; the key's entry moves with each read.
    let (mut kept, mut at) = (BTreeSet::new(), 0);
    misses(keys, |key| {
        let hit = kept.remove(&(at, key));
        kept.insert((next[at], key));
        if kept.len() > ENTRIES {
            kept.pop_last();
        }
        at += 1;
        hit
    })
}

fn zipf_alone(random: &mut fastrand::Rng, reads: usize) -> Vec<u64> {
    (0..reads).map(|_| zipf(random, KEYS)).collect()
}

fn with_scans(random: &mut fastrand::Rng, reads: usize) -> Vec<u64> {
    const SCAN: usize = 2_000;
    let (mut keys, mut fresh) = (Vec::with_capacity(reads), KEYS);
    while keys.len() < reads {
        keys.extend((0..4 * SCAN).map(|_| zipf(random, KEYS)));
        keys.extend((0..SCAN as u64).map(|step| fresh + step));
        fresh += SCAN as u64;
    }
    keys.truncate(reads);
    keys
}

fn shifting(random: &mut fastrand::Rng, reads: usize) -> Vec<u64> {
    let era = reads.div_ceil(5).max(1);
    (0..reads)
        .map(|at| (zipf(random, KEYS) + (at / era) as u64 * 7_919) % KEYS)
        .collect()
}
