//! Type and const parameters, conditions, `self: Arc<Self>` used by the body, and every other argument.

use std::{fmt::Display, sync::Arc, time::Duration};

use tiered_cache::{CacheKey, Policy, TieredCache, cached};

#[cached(cache = squares, key = of, ttl = Duration::from_secs(60), when = N > 1)]
async fn power<K, S, const N: u32>(
    squares: &TieredCache<K, u64>,
    of: K,
    by: S,
) -> Result<u64, std::num::TryFromIntError>
where
    K: CacheKey + TryInto<u32, Error = std::num::TryFromIntError>,
    S: Display + Send + 'static,
{
    let _ = by.to_string();
    Ok(u64::from(of.try_into()?).pow(N))
}

struct Users {
    cache: TieredCache<String, String>,
    suffix: &'static str,
}

impl Users {
    #[cached(
        cache = self.cache,
        key = "user:{id}",
        ttl = "1h 30m",
        negative = "30s",
        tags = ["team:{team}", "users"],
        when = "id != 0",
        skip = |user| user.is_empty(),
        crate = "tiered_cache"
    )]
    async fn name(self: Arc<Self>, id: u64, team: u32) -> Option<String> {
        (id < 10).then(|| format!("{team}{}", self.suffix))
    }
}

fn main() {
    let squares = TieredCache::<u64, u64>::memory("squares", Policy::default()).unwrap();
    let _power = power::<_, _, 2>(&squares, 3, "text");
    // Only what the key and the cache need is left of the parameters and generics.
    let _gone = invalidate_power(&squares, 3);
    let cache = TieredCache::memory("users", Policy::default()).unwrap();
    let users = Arc::new(Users { cache, suffix: "!" });
    let _name = Arc::clone(&users).name(1, 2);
    let _gone = users.invalidate_name(1);
}
