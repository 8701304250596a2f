//! Without a key there is nothing to look up.

#[tiered_cache::cached(cache = "users")]
async fn user(users: tiered_cache::TieredCache<u32, u32>) -> Result<Option<u32>, String> {
    Ok(Some(1))
}

fn main() {}
