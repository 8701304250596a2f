//! Every argument that cannot be meant is told at once, at its own place.
#![allow(unused)]
use tiered_cache::{TieredCache, cached};

#[cached(cahce = users, key = "{id}", key = "{id}", ttl = "10 minutes", negative)]
async fn user(users: TieredCache<String, u32>, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

#[cached]
async fn nothing_said(users: TieredCache<String, u32>) -> Result<Option<u32>, String> {
    Ok(Some(1))
}

fn main() {}
