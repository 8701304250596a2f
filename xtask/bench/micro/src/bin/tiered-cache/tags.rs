//! What tags add to a hit: entries with none to four of them, all valid.

use futures_util::FutureExt as _;
use harness::{Effort, Figures, Suite};
use std::hint::black_box;
use std::time::Instant;
use tiered_cache::TieredCache;

use crate::data::{policy, reads, service_runtime, value};

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "tag-check",
        "what 1, 2 and 4 tags add to a memory hit: median over rounds that take turns; of 1,000 tags, none invalidated",
        tag_check,
    );
}

const COUNTS: [usize; 4] = [0, 1, 2, 4];
/// Few enough that the processor's caches hold them: what is told is the check, not the memory's latency.
const KEYS: u64 = 1_000;

fn tag_check(figures: &mut Figures<'_>) {
    let _inside = service_runtime().enter();
    let caches: Vec<_> = COUNTS.iter().map(|tags| tagged(*tags)).collect();
    let (rounds, hits) = match figures.effort() {
        Effort::Smoke => (1, 1_000),
        Effort::Quick => (101, 50_000),
        Effort::Normal | Effort::Full => (301, 100_000),
    };
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); COUNTS.len()];
    for round in 0..rounds {
        for (cache, samples) in caches.iter().zip(&mut samples) {
            // Something else was invalidated: one look at each tag's floor for each entry, then none.
            cache.remove(&KEYS).now_or_never().expect("no lower tier");
            samples.push(hit(cache, round, hits));
        }
    }
    let without = samples[0].clone();
    for (tags, samples) in COUNTS.iter().zip(&samples).skip(1) {
        let added: Vec<f64> = samples
            .iter()
            .zip(&without)
            .map(|(with, none)| with - none)
            .collect();
        figures.ours(&format!("{tags}_tags"), "ns", &added);
        figures.goal(&format!("{tags}_tags"), "ns", 15.0);
    }
    figures.ours("hit_without", "ns", &without);
}

/// Nanoseconds for each of so many hits.
fn hit(cache: &TieredCache<u64, String>, round: usize, hits: u32) -> f64 {
    let mut next = reads(round);
    let started = Instant::now();
    for _ in 0..hits {
        black_box(cache.get(&(next() % KEYS)).now_or_never());
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(hits)
}

fn tagged(tags: usize) -> TieredCache<u64, String> {
    let cache = TieredCache::memory("bench", policy(10_000)).expect("a valid policy");
    for key in 0..KEYS {
        let mut entry = cache.entry(&key);
        for tag in 0..tags as u64 {
            entry = entry.tag(format!("tag {}", (key.wrapping_mul(31) + tag * 7) % 1_000));
        }
        entry
            .insert(value(key))
            .now_or_never()
            .expect("no lower tier");
    }
    cache
}
