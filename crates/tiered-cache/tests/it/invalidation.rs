//! What removals, insertions and clearing promise to reads and to loads in flight.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use futures_util::FutureExt;
use tiered_cache::{Capacity, Effect, LoadError, Loaded, Lookup, Policy, TieredCache};
use tokio::{sync::Notify, task::JoinHandle};

fn cache() -> TieredCache<u32, &'static str> {
    TieredCache::memory("invalidation-tests", Policy::default()).expect("the policy is sound")
}

/// A load of "old" that has begun and waits.
struct OldLoad {
    caller: JoinHandle<Result<Lookup<&'static str>, LoadError>>,
    go: Arc<Notify>,
}

impl OldLoad {
    async fn begin(cache: &TieredCache<u32, &'static str>) -> Self {
        let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let caller = {
            let (cache, started, go) = (cache.clone(), Arc::clone(&started), Arc::clone(&go));
            tokio::spawn(async move {
                let load = move || async move {
                    started.notify_one();
                    go.notified().await;
                    Ok::<_, Infallible>(Some("old"))
                };
                cache.get_or_load(&1, load).await
            })
        };
        started.notified().await;
        Self { caller, go }
    }

    /// Its own caller, who asked before, still gets its value.
    async fn end(self) {
        self.go.notify_one();
        let lookup = self
            .caller
            .await
            .expect("no panic")
            .expect("the load succeeds");
        assert_eq!(lookup.value().map(|value| **value), Some("old"));
    }
}

#[tokio::test]
async fn a_load_that_began_before_a_removal_is_never_published() {
    let cache = cache();
    let load = OldLoad::begin(&cache).await;
    cache.remove(&1).await;
    load.end().await;
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    assert_eq!(cache.stats().unpublished, 1);
}

#[tokio::test]
async fn a_load_that_began_before_a_clear_is_never_published() {
    let cache = cache();
    let load = OldLoad::begin(&cache).await;
    cache.clear().await;
    load.end().await;
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
}

#[tokio::test]
async fn an_insertion_outlives_an_older_load() {
    let cache = cache();
    let load = OldLoad::begin(&cache).await;
    cache.insert(&1, "new").await;
    load.end().await;
    assert_eq!(
        cache.get(&1).await.value().map(|value| **value),
        Some("new")
    );
}

#[tokio::test]
async fn who_asks_after_a_removal_never_joins_an_older_load() {
    let cache = cache();
    let old = OldLoad::begin(&cache).await;
    cache.remove(&1).await;
    let new = cache
        .get_or_load(&1, || async { Ok::<_, Infallible>(Some("new")) })
        .await;
    assert_eq!(
        new.expect("its own load").value().map(|value| **value),
        Some("new")
    );
    old.end().await;
    let kept = cache.get(&1).await;
    assert_eq!(
        kept.value().map(|value| **value),
        Some("new"),
        "the newer load stays"
    );
}

#[tokio::test]
async fn a_removal_of_another_key_does_not_disturb_a_load() {
    let cache = cache();
    let load = OldLoad::begin(&cache).await;
    cache.remove(&2).await;
    load.end().await;
    assert!(cache.get(&1).await.is_hit());
}

#[tokio::test]
async fn removal_and_clear_empty_the_cache() {
    let cache = cache();
    for key in 0..10 {
        cache.insert(&key, "value").await;
    }
    cache.remove(&3).await;
    assert!(matches!(cache.get(&3).await, Lookup::Miss));
    assert!(cache.get(&4).await.is_hit());
    cache.clear().await;
    for key in 0..10 {
        assert!(matches!(cache.get(&key).await, Lookup::Miss));
    }
    assert_eq!(cache.stats().entries, 0);
}

/// Goal: no interleaving of loads and removals on real threads leaves an older value behind.
/// Method: the source of truth is a counter; each round raises it, removes, and reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_after_a_removal_sees_an_older_value() {
    use std::sync::atomic::AtomicU64;
    let cache: TieredCache<u32, u64> =
        TieredCache::memory("race-tests", Policy::default()).expect("the policy is sound");
    let truth = Arc::new(AtomicU64::new(0));
    let load = |truth: &Arc<AtomicU64>| {
        let truth = Arc::clone(truth);
        move || async move {
            let value = truth.load(SeqCst);
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Some(value))
        }
    };
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, truth) = (cache.clone(), Arc::clone(&truth));
            tokio::spawn(async move {
                for _ in 0..3_000 {
                    cache
                        .get_or_load(&1, load(&truth))
                        .await
                        .expect("the load succeeds");
                }
            })
        })
        .collect();
    for version in 1..=1_000 {
        truth.store(version, SeqCst);
        cache.remove(&1).await;
        let lookup = cache
            .get_or_load(&1, load(&truth))
            .await
            .expect("the load succeeds");
        let seen = lookup
            .value()
            .map(|value| **value)
            .expect("the loader always has one");
        assert!(
            seen >= version,
            "read {seen} after the removal of {version}"
        );
    }
    for reader in readers {
        reader.await.expect("no panic");
    }
}

#[tokio::test]
async fn a_prefix_covers_keys_of_every_length() {
    let cache: TieredCache<String, u32> = TieredCache::builder("long-keys")
        .prefixes(':')
        .build_in_memory()
        .expect("sound");
    let long = |length| format!("eu:{}:1", "x".repeat(length));
    for (kind, length) in [("short", 10), ("long", 2_000), ("at the bound", 1_020)] {
        let key = long(length);
        for prefix in ["eu:", &key[..key.len() - 1]] {
            cache.insert(&key, 1).await;
            cache.invalidate_prefix(prefix, Effect::Remove).await;
            let found = cache.get(&key).await;
            assert_eq!(found, Lookup::Miss, "{kind}, prefix of {}", prefix.len());
        }
    }
}

/// A load of key 1 that has begun, waits, and answers `answer`, whose tag only it knows.
async fn begin_tagged(
    cache: &TieredCache<u32, u32>,
    answer: Loaded<u32>,
) -> (JoinHandle<Result<Lookup<u32>, LoadError>>, Arc<Notify>) {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let caller = {
        let (cache, started, go) = (cache.clone(), Arc::clone(&started), Arc::clone(&go));
        tokio::spawn(async move {
            let load = move |_| async move {
                started.notify_one();
                go.notified().await;
                Ok::<_, Infallible>(answer.tag("t"))
            };
            cache.entry(&1).get_or_load_with(load).await
        })
    };
    started.notified().await;
    (caller, go)
}

#[tokio::test]
async fn those_who_ask_after_a_tag_was_invalidated_share_one_load() {
    let cache = TieredCache::memory("late-callers", Policy::default()).expect("sound");
    let (first, go) = begin_tagged(&cache, Loaded::value(1)).await;
    cache.invalidate_tag("t", Effect::Remove).await;
    let loads = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = move || async move {
                    loads.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(Some(2))
                };
                cache.get_or_load(&1, load).await
            })
        })
        .collect();
    // All of them wait for the first load by now.
    while cache.stats().coalesced < 100 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    first.await.expect("no panic").expect("it loads");
    for caller in callers {
        let lookup = caller.await.expect("no panic").expect("it loads");
        assert_eq!(lookup.value().map(|value| **value), Some(2));
    }
    assert_eq!(loads.load(SeqCst), 1);
}

#[tokio::test]
async fn who_asks_after_a_tag_was_invalidated_hears_of_no_absence_from_before() {
    let cache = TieredCache::memory("late-absence", Policy::default()).expect("sound");
    let (first, go) = begin_tagged(&cache, Loaded::absent()).await;
    cache.invalidate_tag("t", Effect::Remove).await;
    let second = {
        let cache = cache.clone();
        let load = || async { Ok::<_, Infallible>(Some(2)) };
        tokio::spawn(async move { cache.get_or_load(&1, load).await })
    };
    tokio::task::yield_now().await;
    go.notify_one();
    let first = first.await.expect("no panic").expect("it loads");
    assert_eq!(first, Lookup::Absent, "who asked before is told so");
    let second = second.await.expect("no panic").expect("it loads");
    assert_eq!(second.value().map(|value| **value), Some(2));
}

/// A value whose own code panics when it is dropped, if it is armed.
#[derive(Debug, Clone)]
struct Mine(bool);

impl Drop for Mine {
    fn drop(&mut self) {
        if self.0 && !std::thread::panicking() {
            panic!("a value's own fault");
        }
    }
}

#[tokio::test]
async fn a_value_that_panics_while_it_is_dropped_keeps_no_other_key_from_being_removed() {
    let cache: TieredCache<u32, Mine> =
        TieredCache::memory("mines", Policy::default()).expect("sound");
    cache.insert(&1, Mine(true)).await;
    cache.insert(&2, Mine(false)).await;
    let removal = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.remove_many([1, 2]).await })
    };
    assert!(removal.await.expect_err("it panics").is_panic());
    assert_eq!(cache.stats().entries, 0);
}

/// Goal: what was replaced stays so when the weigher panics in the middle, also when so much was removed
/// since that its own floor is forgotten.
#[tokio::test]
async fn an_insertion_whose_weigher_panics_does_not_bring_the_old_value_back() {
    let cache: TieredCache<u32, &'static str> = TieredCache::builder("panics")
        .capacity(Capacity::Bytes(64 << 20))
        .weigh(|_, value: &&str| {
            assert_ne!(*value, "heavy", "as asked for");
            value.len()
        })
        .build_in_memory()
        .expect("the policy is sound");
    cache.insert(&1, "old").await;
    cache.insert(&2, "another").await;
    let insert = AssertUnwindSafe(cache.insert(&1, "heavy")).catch_unwind();
    assert!(insert.await.is_err());
    for other in 10..20_000 {
        cache.remove(&other).await;
    }
    assert!(!cache.get(&1).await.is_hit());
    assert!(cache.get(&2).await.is_hit(), "nobody touched it");
}
