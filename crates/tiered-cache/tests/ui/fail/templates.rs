//! A key template is checked against the parameters while compiling.
#![allow(unused)]
use tiered_cache::{TieredCache, cached};

type Users = TieredCache<String, u32>;

#[cached(cache = users, key = "user:{user_di}")]
async fn misspelt(users: Users, user_id: u32) -> Result<Option<u32>, String> {
    Ok(Some(user_id))
}

#[cached(cache = users, key = "user:{id")]
async fn open(users: Users, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

#[cached(cache = users, key = "user:{}")]
async fn empty(users: Users, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

#[cached(cache = users, key = "user:{id}", tags = ["team:{team}"])]
async fn tagged(users: Users, id: u32) -> Result<Option<u32>, String> {
    Ok(Some(id))
}

#[cached(cache = users, key = usr_id)]
async fn typed(users: Users, user_id: u32) -> Result<Option<u32>, String> {
    Ok(Some(user_id))
}

fn main() {}
