//! Advice on the size of the memory tier, as a cache gives it.

use tiered_cache::{Capacity, Policy, TieredCache};

/// Reads keys in rounds, each of which is longer than the cache: an LRU of that size never hits.
#[tokio::test(start_paused = true)]
async fn a_cache_that_is_too_small_for_its_load_is_told_what_would_do() {
    let policy = Policy {
        capacity: Capacity::Entries(100),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u32> = TieredCache::memory("rounds", policy).expect("it is sound");
    let early = cache.advice();
    assert!(early.text.contains("Too few reads"), "{early}");
    for read in 0..20_000 {
        let key = read % 300;
        if cache.get(&key).await.value().is_none() {
            cache.insert(&key, key).await;
        }
    }
    let advice = cache.advice();
    assert_eq!(advice.now.entries, 100);
    assert!(advice.now.hit_ratio < 0.02, "{advice}");
    assert_eq!(advice.knee.entries, 400, "{advice}");
    assert!(advice.knee.hit_ratio > 0.95, "{advice}");
    // What memory did hit is the work of a policy that is better than LRU.
    assert_eq!(advice.measured, cache.stats().memory.hit_ratio());
    assert!(advice.measured > advice.now.hit_ratio, "{advice}");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_counts_bytes_is_advised_in_bytes() {
    let cache = TieredCache::<u32, Vec<u8>>::builder("bytes")
        .capacity(Capacity::Bytes(1 << 20))
        .weigh(|_, value| value.len())
        .build_in_memory()
        .expect("it is sound");
    for read in 0..20_000 {
        let key = read % 3_000;
        if cache.get(&key).await.value().is_none() {
            cache.insert(&key, vec![0; 1024]).await;
        }
    }
    let advice = cache.advice();
    assert!(
        advice
            .now
            .bytes
            .is_some_and(|bytes| bytes.abs_diff(1 << 20) < 1 << 16),
        "{advice}"
    );
    assert!((700..1_100).contains(&advice.now.entries), "{advice}");
    assert!(advice.points[5].hit_ratio > 0.8, "{advice}");
}
