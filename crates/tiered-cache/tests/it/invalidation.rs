//! What removals, insertions and clearing promise to reads and to loads in flight.

use std::{convert::Infallible, sync::Arc};

use tiered_cache::{LoadError, Lookup, Policy, TieredCache};
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
    use std::sync::atomic::{AtomicU64, Ordering};
    let cache: TieredCache<u32, u64> =
        TieredCache::memory("race-tests", Policy::default()).expect("the policy is sound");
    let truth = Arc::new(AtomicU64::new(0));
    let load = |truth: &Arc<AtomicU64>| {
        let truth = Arc::clone(truth);
        move || async move {
            let value = truth.load(Ordering::SeqCst);
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
        truth.store(version, Ordering::SeqCst);
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
