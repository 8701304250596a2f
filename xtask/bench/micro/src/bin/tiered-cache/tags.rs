//! What tags add to a hit: entries with none to four of them, all valid.

use futures_util::FutureExt as _;
use harness::{Effort, Figures, Suite};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tiered_cache::TieredCache;

use crate::data::{ROOM, fill, policy, reads, value};

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "tag-check",
        "what 1, 2 and 4 tags add to a memory hit: median over rounds that take turns; of 1,000 tags, none invalidated",
        |figures| tag_check(figures),
    );
}

const COUNTS: [usize; 4] = [0, 1, 2, 4];

fn tag_check(figures: &mut Figures<'_>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let caches: Vec<_> = COUNTS.iter().map(|tags| (*tags, tagged(*tags))).collect();
    let (rounds, hits) = match figures.effort() {
        Effort::Smoke => (1, 1_000),
        Effort::Quick => (15, 100_000),
        Effort::Normal | Effort::Full => (61, 200_000),
    };
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); COUNTS.len()];
    for round in 0..rounds {
        for ((_, cache), samples) in caches.iter().zip(&mut samples) {
            let mut next = reads(round);
            let started = Instant::now();
            for _ in 0..hits {
                black_box(cache.get(&next()).now_or_never());
            }
            samples.push(nanoseconds(started.elapsed()) / f64::from(hits));
        }
    }
    let without = samples[0].clone();
    for ((tags, _), samples) in caches.iter().zip(&samples).skip(1) {
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

fn tagged(tags: usize) -> TieredCache<u64, String> {
    let cache = TieredCache::memory("bench", policy(ROOM)).expect("a valid policy");
    fill(|key| {
        let mut entry = cache.entry(&key);
        for tag in 0..tags as u64 {
            entry = entry.tag(format!("tag {}", (key.wrapping_mul(31) + tag * 7) % 1_000));
        }
        entry
            .insert(value(key))
            .now_or_never()
            .expect("no lower tier");
    });
    cache
}

fn nanoseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e9
}
