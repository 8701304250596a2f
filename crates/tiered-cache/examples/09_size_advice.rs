//! How large should the cache be? It watches a sample of its keys and says what other sizes would hit.
//!
//! Run it with `cargo run -p tiered-cache --example 09_size_advice`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use tiered_cache::{BoxError, Capacity, Policy, TieredCache};

const PRODUCTS: u64 = 50_000;
const READS: u64 = 150_000;

#[tokio::main]
pub(crate) async fn main() -> Result<(), BoxError> {
    let policy = Policy {
        capacity: Capacity::Entries(500),
        ..Policy::default()
    };
    let products: TieredCache<u64, u64> = TieredCache::memory("products", policy)?;

    let mut seed = 7_u64;
    for _ in 0..READS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = (seed >> 11) as f64 / (1_u64 << 53) as f64;
        // Nearly Zipf's law: as many reads for the first 10 products as for the next 90.
        let id = (PRODUCTS as f64).powf(share) as u64;
        if products.get(&id).await.value().is_none() {
            products.insert(&id, id).await;
        }
    }

    println!("{}\n", products.stats());
    let advice = products.advice();
    println!("{advice}\n");

    // The same as values, for a dashboard or for an alarm.
    let twice = advice
        .points
        .iter()
        .find(|point| point.entries == 1_000)
        .ok_or("in the chart")?;
    println!(
        "at twice the size: {:+.1} points",
        (twice.hit_ratio - advice.now.hit_ratio) * 100.0
    );
    assert!(advice.knee.entries > 500, "it pays to make it larger");
    assert!(twice.hit_ratio > advice.now.hit_ratio);
    assert!(
        advice.measured > advice.now.hit_ratio - 0.05,
        "it hits about as much as an LRU, or more"
    );
    Ok(())
}
