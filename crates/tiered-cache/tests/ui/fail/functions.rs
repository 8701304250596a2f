//! Functions that cannot be cached, and arguments that do not fit what they return.
#![allow(unused)]
use tiered_cache::{Loaded, TieredCache, cached};

type Users = TieredCache<String, u32>;

#[cached(cache = users, key = "{id}")]
fn blocking(users: Users, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

#[cached(cache = users, key = "{id}")]
async fn silent(users: Users, id: u32) {}

#[cached(cache = users, key = "{id}", negative = "30s")]
async fn never_absent(users: Users, id: u32) -> Result<u32, String> {
    Ok(id)
}

#[cached(cache = users, key = "{id}", ttl = "30s")]
async fn says_itself(users: Users, id: u32) -> Result<Loaded<u32>, String> {
    Ok(Loaded::value(id))
}

#[cached(cache = users, key = "{id}")]
async fn unseen(users: Users, id: u32) -> std::fmt::Result {
    Ok(())
}

struct Service {
    users: Users,
    offset: u32,
}

impl Service {
    #[cached(cache = self.users, key = "{id}")]
    async fn borrows(&self, id: u32) -> Result<Option<u32>, String> {
        Ok(Some(id + self.offset))
    }
}

fn main() {}
