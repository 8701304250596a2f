//! The keys and values of the benches, and the order in which a service would read them.

use std::sync::OnceLock;
use std::time::Duration;

use tiered_cache::{Capacity, Policy};

/// Read by the hits.
pub(crate) const KEYS: u64 = 100_000;
/// Room for all of them however unevenly a cache spreads them over its shards, so that every read is a hit.
pub(crate) const ROOM: usize = 200_000;
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// 256 bytes that name their key.
pub(crate) fn value(key: u64) -> String {
    format!("{key:0256}")
}

pub(crate) fn policy(entries: usize) -> Policy {
    Policy {
        capacity: Capacity::Entries(entries),
        ttl: TTL,
        ..Policy::default()
    }
}

/// Inserts every key, in an order that puts no popular key beside another in memory.
pub(crate) fn fill(insert: impl FnMut(u64)) {
    let mut keys: Vec<u64> = (0..KEYS).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut keys);
    keys.into_iter().for_each(insert);
}

pub(crate) fn verify(get: impl Fn(u64) -> String) {
    assert!((0..KEYS).all(|key| get(key) == value(key)), "a wrong value");
}

/// Keys as a service reads them: the chance of the key of rank n is about 1/n. Drawn ahead, as drawing costs more than
/// some of the reads.
pub(crate) fn reads(thread: usize) -> impl FnMut() -> u64 {
    reads_of(thread, KEYS)
}

/// As [`reads`], of `keys` keys.
pub(crate) fn reads_of(thread: usize, keys: u64) -> impl FnMut() -> u64 {
    let mut random = fastrand::Rng::with_seed(thread as u64);
    let keys: Vec<u64> = (0..1 << 16).map(|_| zipf(&mut random, keys)).collect();
    let mut at = 0;
    move || {
        at = if at == 0 { keys.len() - 1 } else { at - 1 };
        keys[at]
    }
}

/// A key of `0..keys`, the chance of the key of rank n being about 1/n.
pub(crate) fn zipf(random: &mut fastrand::Rng, keys: u64) -> u64 {
    (keys as f64).powf(random.f64()) as u64 - 1
}

/// A runtime as a service has it, for as long as the program runs: on others the cache reads the exact clock.
pub(crate) fn service_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}
