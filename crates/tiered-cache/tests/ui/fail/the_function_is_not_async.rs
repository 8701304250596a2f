//! The body becomes an async loader.

#[tiered_cache::cached(cache = "users", key = "id")]
fn user(users: tiered_cache::TieredCache<u32, u32>, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

fn main() {}
