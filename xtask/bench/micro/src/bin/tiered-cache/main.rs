//! What the cache costs and how often it hits, beside the caches that people would use instead.

mod data;
mod disk;
mod load;
mod many;
mod memory;
mod ratio;
mod redis;
mod redis_server;
mod restart;
mod stampede;
mod tags;

use harness::{Exit, Suite};

fn main() -> Exit {
    harness::main("tiered-cache", |suite: &mut Suite| {
        memory::add(suite);
        memory::add_hot(suite);
        tags::add(suite);
        load::add(suite);
        stampede::add(suite);
        disk::add(suite);
        redis::add(suite);
        many::add(suite);
        ratio::add(suite);
        restart::add(suite);
    })
}
