//! What a look-up costs in the maps of the standard library: an example of every kind of bench.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use harness::{Exit, Suite};

const ENTRIES: u64 = 1_000;

fn main() -> Exit {
    harness::main("hash-map", |suite: &mut Suite| {
        suite
            .bench("get")
            .about("get of a present key, 1,000 keys in turn")
            .ours("HashMap::get", || {
                let map: HashMap<u64, u64> = entries().collect();
                let mut keys = (0..ENTRIES).cycle();
                move || keys.next().and_then(|key| map.get(&key).copied())
            })
            .peer("BTreeMap", || {
                let map: BTreeMap<u64, u64> = entries().collect();
                let mut keys = (0..ENTRIES).cycle();
                move || keys.next().and_then(|key| map.get(&key).copied())
            });
        suite
            .bench("get-under-lock")
            .about("get of a present key behind a lock that threads share")
            .ours_shared("RwLock<HashMap>", || {
                let map: Arc<RwLock<HashMap<u64, u64>>> =
                    Arc::new(RwLock::new(entries().collect()));
                move |thread| {
                    let (map, key) = (Arc::clone(&map), thread as u64);
                    move || map.read().map(|map| map.get(&key).copied()).ok()
                }
            })
            .peer_shared("Mutex<HashMap>", || {
                let map: Arc<Mutex<HashMap<u64, u64>>> = Arc::new(Mutex::new(entries().collect()));
                move |thread| {
                    let (map, key) = (Arc::clone(&map), thread as u64);
                    move || map.lock().map(|map| map.get(&key).copied()).ok()
                }
            })
            .threads(&[1, 2]);
        suite
            .bench("get-async")
            .about("get of a present key behind an asynchronous lock")
            .ours_async("tokio RwLock<HashMap>", async || {
                let map: tokio::sync::RwLock<HashMap<u64, u64>> =
                    tokio::sync::RwLock::new(entries().collect());
                let key = Cell::new(0);
                async move || {
                    key.set((key.get() + 1) % ENTRIES);
                    map.read().await.get(&key.get()).copied()
                }
            })
            .concurrency(&[1, 64]);
        suite
            .bench("into-sorted")
            .about("all entries moved out of a map of 100 keys, in order")
            .ours_batched("HashMap, then sort", || {
                let prepare = || entries().take(100).collect::<HashMap<u64, u64>>();
                let sorted = |map: HashMap<u64, u64>| {
                    let mut entries: Vec<_> = map.into_iter().collect();
                    entries.sort_unstable();
                    entries
                };
                (prepare, sorted)
            })
            .peer_batched("BTreeMap", || {
                let prepare = || entries().take(100).collect::<BTreeMap<u64, u64>>();
                (prepare, |map: BTreeMap<u64, u64>| Vec::from_iter(map))
            });
    })
}

fn entries() -> impl Iterator<Item = (u64, u64)> {
    (0..ENTRIES).map(|key| (key, key * key))
}
