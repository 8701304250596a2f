//! What one call may ask for, and bounds: tags, prefixes, patterns, tiers, sizes, turns, and callers who
//! leave at any moment.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::poll;
use tiered_cache::{
    Caches, Capacity, Effect, LoadError, Loaded, Lookup, Policy, TierKind, TierSet, TieredCache,
};
use tokio::{sync::Notify, task::yield_now};

use crate::shelf::Shelf;

type Names = TieredCache<u64, String>;

fn memory(policy: Policy) -> Names {
    TieredCache::memory("limits", policy).expect("sound")
}

async fn over(shelf: &Arc<Shelf>, policy: Policy) -> (Caches, Names) {
    let builder = Caches::builder().tier(Arc::clone(shelf) as _);
    let caches = builder.build().await.expect("nothing to fail");
    let cache = caches.cache("limits", policy).expect("sound");
    (caches, cache)
}

fn value_of(lookup: &Lookup<String>) -> Option<&str> {
    lookup.value().map(|value| value.as_str())
}

/// Goal: wherever its first caller leaves, a load goes on, is kept, and blocks nobody. Method: the
/// caller is polled so often, then dropped; the next one brings a loader that must not run.
#[tokio::test]
async fn a_caller_who_leaves_at_any_await_ends_no_load_and_blocks_no_key() {
    for polls in 1..12 {
        let shelf = Shelf::new(TierKind::Other);
        let (_caches, cache) = over(&shelf, Policy::default()).await;
        let loads = Arc::new(AtomicUsize::new(0));
        let load = {
            let loads = Arc::clone(&loads);
            move || async move {
                loads.fetch_add(1, SeqCst);
                for _ in 0..4 {
                    yield_now().await;
                }
                Ok::<_, Infallible>(Some("first".to_owned()))
            }
        };
        {
            let mut first = Box::pin(cache.get_or_load(&1, load));
            for _ in 0..polls {
                if poll!(&mut first).is_ready() {
                    break;
                }
                yield_now().await;
            }
        }
        let second = cache.get_or_load(&1, || async { Err::<Option<String>, _>("not called") });
        let second = tokio::time::timeout(Duration::from_secs(30), second).await;
        let second = second
            .expect("nobody is blocked")
            .expect("the first load goes on");
        assert_eq!(value_of(&second), Some("first"), "after {polls} polls");
        assert_eq!(loads.load(SeqCst), 1);
    }
}

#[tokio::test]
async fn insertions_and_removals_that_are_dropped_midway_count_all_the_same() {
    let shelf = Shelf::new(TierKind::Other);
    let (_caches, cache) = over(&shelf, Policy::default()).await;
    cache.insert(&1, "old".to_owned()).await;
    {
        let mut insertion = Box::pin(cache.insert(&1, "new".to_owned()));
        let _ = poll!(&mut insertion);
    }
    assert_eq!(value_of(&cache.get(&1).await), Some("new"));
    {
        let mut removal = Box::pin(cache.remove(&1));
        let _ = poll!(&mut removal);
    }
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
}

#[tokio::test]
async fn a_tag_covers_what_carries_it_in_every_cache_and_nothing_else() {
    let caches = Caches::builder().build().await.expect("nothing to fail");
    let one: Names = caches.cache("one", Policy::default()).expect("sound");
    let two: Names = caches.cache("two", Policy::default()).expect("sound");
    one.entry(&1).tag("team:3").insert("a".to_owned()).await;
    one.entry(&2).tag("team:4").insert("b".to_owned()).await;
    let tagged = |_| async { Ok::<_, Infallible>(Loaded::value("c".to_owned()).tag("team:3")) };
    two.entry(&1)
        .get_or_load_with(tagged)
        .await
        .expect("it loads");
    caches.invalidate_tag("team:3", Effect::Remove).await;
    assert!(matches!(one.get(&1).await, Lookup::Miss));
    assert!(matches!(two.get(&1).await, Lookup::Miss));
    assert!(one.get(&2).await.is_hit());
}

#[tokio::test]
async fn who_asks_after_a_tag_was_invalidated_gets_no_value_loaded_before() {
    let caches = Caches::builder().build().await.expect("nothing to fail");
    let cache: Names = caches.cache("late", Policy::default()).expect("sound");
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = {
        let (cache, began, go) = (cache.clone(), Arc::clone(&began), Arc::clone(&go));
        tokio::spawn(async move {
            // Which tag it is only the loader knows.
            let load = move |_| async move {
                began.notify_one();
                go.notified().await;
                Ok::<_, Infallible>(Loaded::value("old".to_owned()).tag("t"))
            };
            cache.entry(&1).get_or_load_with(load).await
        })
    };
    began.notified().await;
    caches.invalidate_tag("t", Effect::Remove).await;
    let second = {
        let cache = cache.clone();
        let load = || async { Ok::<_, Infallible>(Some("new".to_owned())) };
        tokio::spawn(async move { cache.get_or_load(&1, load).await })
    };
    yield_now().await;
    go.notify_one();
    let first = first.await.expect("no panic").expect("it loads");
    assert_eq!(value_of(&first), Some("old"), "who asked before gets it");
    let second = second.await.expect("no panic").expect("it loads");
    assert_eq!(value_of(&second), Some("new"));
    assert_eq!(value_of(&cache.get(&1).await), Some("new"));
}

#[tokio::test]
async fn a_prefix_or_pattern_covers_its_keys_and_an_unknown_one_covers_all() {
    let fresh = || -> TieredCache<String, u32> {
        TieredCache::builder("grouped")
            .prefixes(':')
            .pattern("length", |key: &String| Some(key.len()))
            .build_in_memory()
            .expect("sound")
    };
    let left = async |cache: &TieredCache<String, u32>| {
        let mut left = Vec::new();
        for key in ["eu:de:1", "eu:fr:10", "us:1"] {
            if cache.get(&key.to_owned()).await.is_hit() {
                left.push(key);
            }
        }
        left
    };
    type Call = fn(TieredCache<String, u32>) -> futures_util::future::BoxFuture<'static, ()>;
    let cases: [(Call, &[&str]); 5] = [
        (
            |cache| Box::pin(async move { cache.invalidate_prefix("eu:", Effect::Remove).await }),
            &["us:1"],
        ),
        (
            |cache| {
                Box::pin(async move { cache.invalidate_prefix("eu:fr:", Effect::Remove).await })
            },
            &["eu:de:1", "us:1"],
        ),
        (
            |cache| Box::pin(async move { cache.invalidate_prefix("e", Effect::Remove).await }),
            &[],
        ),
        (
            |cache| {
                Box::pin(async move {
                    cache
                        .invalidate_pattern("length", "4", Effect::Remove)
                        .await;
                })
            },
            &["eu:de:1", "eu:fr:10"],
        ),
        (
            |cache| {
                Box::pin(async move {
                    cache
                        .invalidate_pattern("colour", "4", Effect::Remove)
                        .await;
                })
            },
            &[],
        ),
    ];
    for (number, (call, expected)) in cases.into_iter().enumerate() {
        let cache = fresh();
        for key in ["eu:de:1", "eu:fr:10", "us:1"] {
            cache.insert(&key.to_owned(), 1).await;
        }
        call(cache.clone()).await;
        assert_eq!(left(&cache).await, expected, "case {number}");
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_returned_and_not_kept() {
    let policy = Policy {
        max_value_bytes: 100,
        max_tags: 2,
        ..Policy::default()
    };
    let shelf = Shelf::new(TierKind::Other);
    let (_caches, cache) = over(&shelf, policy).await;
    cache.insert(&1, "small".to_owned()).await;
    let large = "x".repeat(200);
    let loaded = {
        let large = large.clone();
        let load = || async { Ok::<_, Infallible>(Some(large)) };
        cache.get_or_load(&2, load).await.expect("it loads")
    };
    assert_eq!(value_of(&loaded), Some(large.as_str()));
    assert!(matches!(cache.get(&2).await, Lookup::Miss));
    cache.insert(&1, large).await;
    assert!(
        matches!(cache.get(&1).await, Lookup::Miss),
        "the older one goes too"
    );
    let tagged =
        |_| async { Ok::<_, Infallible>(Loaded::value("v".to_owned()).tags(["a", "b", "c"])) };
    let loaded = cache
        .entry(&3)
        .get_or_load_with(tagged)
        .await
        .expect("it loads");
    assert_eq!(value_of(&loaded), Some("v"));
    assert!(matches!(cache.get(&3).await, Lookup::Miss));
    assert_eq!(cache.stats().unkept, 3);
}

#[tokio::test]
async fn foreign_damaged_and_truncated_bytes_in_a_tier_are_misses() {
    type Spoil = fn(&[u8]) -> Vec<u8>;
    let spoils: [Spoil; 5] = [
        |_| b"somebody else's".to_vec(),
        |_| Vec::new(),
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |bytes| [bytes, b"more"].concat(),
        |bytes| bytes.iter().map(|byte| byte ^ 1).collect(),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let shelf = Shelf::new(TierKind::Other);
        let (_caches, cache) = over(&shelf, Policy::default()).await;
        let below = TierSet::ALL.without(TierKind::Memory);
        cache.insert(&1, "value".to_owned()).await;
        let whole = cache.entry(&1).tiers(below).get().await;
        assert_eq!(value_of(&whole), Some("value"));
        shelf.spoil(spoil);
        let spoiled = cache.entry(&1).tiers(below).get().await;
        assert!(matches!(spoiled, Lookup::Miss), "case {number}");
        assert_eq!(cache.stats().other.invalid, 1, "case {number}");
        let load = || async { Ok::<_, Infallible>(Some("new".to_owned())) };
        let loaded = cache.entry(&1).tiers(below).get_or_load(load).await;
        assert_eq!(value_of(&loaded.expect("it loads")), Some("new"));
    }
}

#[tokio::test]
async fn a_large_value_that_comes_up_from_a_tier_is_held_compressed_too() {
    let policy = Policy {
        capacity: Capacity::Bytes(1 << 20),
        pack_above: Some(1_000),
        ..Policy::default()
    };
    let shelf = Shelf::new(TierKind::Other);
    let (caches, cache) = over(&shelf, policy).await;
    let large = "x".repeat(100_000);
    cache.insert(&1, large.clone()).await;
    let packed = cache.stats().bytes;
    assert!(packed < 10_000, "{packed}");
    caches.set_memory_budget(1);
    caches.set_memory_budget(1 << 20);
    assert_eq!(cache.stats().entries, 0);
    let found = cache.get(&1).await;
    assert_eq!(
        (found.tier(), value_of(&found)),
        (Some(TierKind::Other), Some(&*large))
    );
    assert_eq!((cache.stats().entries, cache.stats().bytes), (1, packed));
    let held = cache.get(&1).await;
    assert_eq!(
        (held.tier(), value_of(&held)),
        (Some(TierKind::Memory), Some(&*large))
    );
}

#[tokio::test]
async fn an_entry_with_a_ttl_of_zero_or_said_to_be_uncached_is_kept_nowhere() {
    let cache = memory(Policy::default());
    let load = || async { Ok::<_, Infallible>(Some("v".to_owned())) };
    let lookup = cache.entry(&1).ttl(Duration::ZERO).get_or_load(load).await;
    assert!(matches!(lookup, Ok(Lookup::Loaded { .. })));
    assert!(matches!(cache.get(&1).await, Lookup::Miss));
    let load = |_| async { Ok::<_, Infallible>(Loaded::value("v".to_owned()).uncached()) };
    let lookup = cache.entry(&2).get_or_load_with(load).await;
    assert!(matches!(lookup, Ok(Lookup::Loaded { .. })));
    assert!(matches!(cache.get(&2).await, Lookup::Miss));
}

#[tokio::test]
async fn a_call_uses_the_tiers_that_it_names_alone() {
    let shelf = Shelf::new(TierKind::Other);
    let (_caches, cache) = over(&shelf, Policy::default()).await;
    cache
        .entry(&1)
        .tiers(TierSet::MEMORY)
        .insert("m".to_owned())
        .await;
    let below = TierSet::ALL.without(TierKind::Memory);
    assert!(matches!(
        cache.entry(&1).tiers(below).get().await,
        Lookup::Miss
    ));
    cache.entry(&2).tiers(below).insert("b".to_owned()).await;
    assert!(matches!(
        cache.entry(&2).tiers(TierSet::MEMORY).get().await,
        Lookup::Miss
    ));
    assert_eq!(cache.peek(&2), None);
    let reads = shelf.reads();
    let found = cache.get(&2).await;
    assert_eq!(
        (found.tier(), value_of(&found)),
        (Some(TierKind::Other), Some("b"))
    );
    assert_eq!(shelf.reads(), reads + 1);
    assert_eq!(
        cache.get(&2).await.tier(),
        Some(TierKind::Memory),
        "it was promoted"
    );
}

#[tokio::test]
async fn a_cache_may_leave_a_tier_out() {
    let shelf = Shelf::new(TierKind::Other);
    let caches = Caches::builder().tier(Arc::clone(&shelf) as _);
    let caches = caches.build().await.expect("nothing to fail");
    let cache: Names = TieredCache::builder("alone")
        .tiers(TierSet::MEMORY)
        .build(&caches)
        .expect("sound");
    cache.insert(&1, "v".to_owned()).await;
    cache.get(&2).await;
    assert_eq!(shelf.reads(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_loads_run_at_once_than_allowed_and_nobody_waits_beyond_the_timeout() {
    let after = Duration::from_secs(5);
    let cache = memory(Policy {
        loads_max: 2,
        load_timeout: after,
        ..Policy::default()
    });
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begun = tokio::time::Instant::now();
    let calls = (0..10).map(|key| {
        let (cache, running, most) = (cache.clone(), Arc::clone(&running), Arc::clone(&most));
        tokio::spawn(async move {
            let load = move || async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(Duration::from_secs(2)).await;
                running.fetch_sub(1, SeqCst);
                Ok::<_, Infallible>(Some("v".to_owned()))
            };
            cache.get_or_load(&key, load).await
        })
    });
    let (mut loaded, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => loaded += 1,
            Err(LoadError::Overloaded | LoadError::TimedOut { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (loaded, refused),
        (4, 6),
        "two at a time, for two rounds of 2 s within 5 s"
    );
    assert_eq!(most.load(SeqCst), 2);
    assert_eq!(begun.elapsed(), after);
}

#[tokio::test]
async fn a_registered_loader_is_needed_for_fetch_and_serves_it() {
    let error = memory(Policy::default()).fetch(&1).await;
    assert!(matches!(error, Err(LoadError::NoLoader)));
    let cache: Names = TieredCache::builder("fetched")
        .loader(|key: u64, _| async move { Ok::<_, Infallible>(Some(key.to_string())) })
        .build_in_memory()
        .expect("sound");
    assert_eq!(
        value_of(&cache.fetch(&7).await.expect("it loads")),
        Some("7")
    );
    assert!(cache.get(&7).await.is_hit());
}

#[tokio::test]
async fn not_modified_without_an_old_value_is_an_error() {
    let load = |_| async { Ok::<_, Infallible>(Loaded::<String>::not_modified()) };
    let answer = memory(Policy::default())
        .entry(&1)
        .get_or_load_with(load)
        .await;
    assert!(matches!(answer, Err(LoadError::NothingToRenew)));
}

#[tokio::test]
async fn an_expired_value_serves_where_the_policy_lets_it_and_a_removed_one_nowhere() {
    let cache = memory(Policy {
        stale_if_error: Duration::from_secs(600),
        ..Policy::default()
    });
    cache.insert(&1, "v".to_owned()).await;
    cache.expire(&1).await;
    assert!(
        matches!(cache.get(&1).await, Lookup::Miss),
        "nobody said that a load failed"
    );
    let fail = || async { Err::<Option<String>, _>("away") };
    let lookup = cache
        .get_or_load(&1, fail)
        .await
        .expect("an old value stands in");
    assert!(lookup.is_stale());
    cache.remove(&1).await;
    assert!(cache.get_or_load(&1, fail).await.is_err());
}

#[tokio::test]
async fn caches_that_count_bytes_share_the_budget_while_they_run() {
    let builder = Caches::builder().memory_budget(8 << 20);
    let caches = builder.build().await.expect("nothing to fail");
    let make = |name: &str| -> Names {
        TieredCache::builder(name)
            .capacity(Capacity::Bytes(8 << 20))
            .weigh(|_, value: &String| value.len())
            .build(&caches)
            .expect("sound")
    };
    let (one, two) = (make("one"), make("two"));
    for key in 0..2_000 {
        one.insert(&key, "x".repeat(10_000)).await;
        two.insert(&key, "x".repeat(10_000)).await;
    }
    let bytes = || one.stats().bytes + two.stats().bytes;
    assert!((2 << 20..=8 << 20).contains(&bytes()), "{} bytes", bytes());
    caches.set_memory_budget(1 << 20);
    assert!(bytes() <= 1 << 20, "{} bytes", bytes());
    assert!(one.stats().evictions > 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_memory_is_given_nothing_of_it_when_its_load_is_slow() {
    let shelf = Shelf::new(TierKind::Other);
    let policy = Policy {
        soft_timeout: Some(Duration::from_secs(1)),
        ..Policy::default()
    };
    let (_caches, cache) = over(&shelf, policy).await;
    let memory = cache.entry(&1).tiers(TierSet::MEMORY);
    memory.insert("in memory".to_owned()).await;
    let load = || async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, Infallible>(Some("loaded".to_owned()))
    };
    let below = TierSet::ALL.without(TierKind::Memory);
    let lookup = cache.entry(&1).tiers(below).get_or_load(load).await;
    assert_eq!(value_of(&lookup.expect("it loads")), Some("loaded"));
}
