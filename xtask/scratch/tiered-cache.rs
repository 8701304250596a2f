//! Uses `tiered-cache` from a project of its own, as a stranger would.

use tiered_cache::{Policy, TieredCache};

async fn length(key: String) -> Result<usize, Box<dyn std::error::Error>> {
    let cache: TieredCache<String, String> = TieredCache::memory("names", Policy::default())?;
    cache.insert(&key, "value".to_owned()).await;
    Ok(cache.get(&key).await.value().map_or(0, |value| value.len()))
}

fn main() {
    drop(length("key".to_owned()));
}
