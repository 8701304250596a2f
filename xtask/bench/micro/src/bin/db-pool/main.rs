//! What lending connections, reading, writing and recovering cost, beside the pools that people would use instead.

mod cached;
mod dead_network;
mod fairness;
mod insert;
mod load;
mod mix;
mod pools;
mod reads;
mod server;
mod sqlite;
mod storm;

use harness::{Exit, Suite};

fn main() -> Exit {
    harness::main("db-pool", |suite: &mut Suite| {
        sqlite::add(suite);
        fairness::add(suite);
        reads::add(suite);
        insert::add(suite);
        cached::add(suite);
        storm::add(suite);
        dead_network::add(suite);
        mix::add(suite);
    })
}
