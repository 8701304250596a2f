//! The memory tier: lifetime, capacity, sharing, and settings that cannot work.

use std::{sync::Arc, time::Duration};

use tiered_cache::{
    CacheKey, Caches, Capacity, ConfigError, Lookup, Policy, TierKind, TierSet, TieredCache,
};
use tokio::time::{advance, sleep};

use crate::shelf::Shelf;

fn cache(policy: Policy) -> TieredCache<u32, String> {
    TieredCache::memory("memory-tests", policy).expect("the policy is sound")
}

#[tokio::test(start_paused = true)]
async fn a_value_is_served_until_its_ttl_and_not_after() {
    let ttl = Duration::from_secs(100);
    let cache = cache(Policy {
        ttl,
        ..Policy::default()
    });
    for key in 0..50 {
        cache.insert(&key, "value".to_owned()).await;
    }
    advance(Duration::from_secs(94)).await;
    for key in 0..50 {
        assert!(
            cache.get(&key).await.is_hit(),
            "jitter takes at most 5 % of the TTL"
        );
    }
    advance(Duration::from_secs(6)).await;
    for key in 0..50 {
        assert!(
            matches!(cache.get(&key).await, Lookup::Miss),
            "the TTL is the upper bound"
        );
    }
    assert_eq!(cache.stats().memory.stale, 50);
    assert_eq!(
        cache.stats().entries,
        0,
        "an expired value leaves when it is read"
    );
}

#[tokio::test(start_paused = true)]
async fn values_kept_together_do_not_expire_together() {
    let cache = cache(Policy {
        ttl: Duration::from_secs(100),
        ..Policy::default()
    });
    for key in 0..200 {
        cache.insert(&key, String::new()).await;
    }
    advance(Duration::from_millis(97_500)).await;
    let mut left = 0;
    for key in 0..200 {
        left += usize::from(cache.get(&key).await.is_hit());
    }
    assert!(
        (50..150).contains(&left),
        "about half should be left, not {left}"
    );
}

#[tokio::test]
async fn the_capacity_is_never_exceeded() {
    let cache = cache(Policy {
        capacity: Capacity::Entries(100),
        ..Policy::default()
    });
    for key in 0..10_000 {
        cache.insert(&key, key.to_string()).await;
    }
    let entries = cache.stats().entries;
    assert!(
        (50..=100).contains(&entries),
        "{entries} entries for a capacity of 100"
    );
}

#[tokio::test]
async fn hits_share_one_value() {
    let cache = cache(Policy::default());
    cache.insert(&1, "one".to_owned()).await;
    let first = cache
        .get(&1)
        .await
        .into_value()
        .expect("it was just inserted");
    let second = cache.get(&1).await;
    assert_eq!(second.tier(), Some(TierKind::Memory));
    let second = second.value().expect("it is still there");
    assert!(std::ptr::eq(&*first, &**second));
}

#[tokio::test]
async fn a_clone_of_the_handle_is_the_same_cache() {
    let cache = cache(Policy::default());
    cache.clone().insert(&1, "one".to_owned()).await;
    assert!(cache.get(&1).await.is_hit());
}

#[tokio::test]
async fn a_policy_that_cannot_work_is_refused_by_field_and_value() {
    let cases = [
        (
            Policy {
                ttl: Duration::ZERO,
                ..Policy::default()
            },
            "ttl = 0ns",
        ),
        (
            Policy {
                ttl: Duration::MAX,
                ..Policy::default()
            },
            "ttl = ",
        ),
        (
            Policy {
                capacity: Capacity::Entries(0),
                ..Policy::default()
            },
            "capacity = Entries(0)",
        ),
        (
            Policy {
                load_timeout: Duration::ZERO,
                ..Policy::default()
            },
            "load_timeout = 0ns",
        ),
        (
            Policy {
                max_value_bytes: 0,
                ..Policy::default()
            },
            "max_value_bytes = 0",
        ),
    ];
    for (policy, expected) in cases {
        let error = TieredCache::<u32, String>::memory("bad", policy).expect_err(expected);
        assert!(matches!(error, ConfigError::Value { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_a_key_prefix_is_refused() {
    for name in ["", "a:b", "a*", "a b", "ü", &"x".repeat(65)] {
        let error = TieredCache::<u32, u32>::memory(name, Policy::default()).expect_err(name);
        assert!(matches!(error, ConfigError::Name { .. }), "{error}");
        let error = Caches::builder()
            .namespace(name)
            .build()
            .await
            .expect_err(name);
        assert!(error.to_string().contains("namespace"), "{error}");
    }
}

#[tokio::test]
async fn two_caches_of_one_name_are_refused() {
    let caches = Caches::builder()
        .build()
        .await
        .expect("memory alone always works");
    let _first: TieredCache<u32, u32> = caches.cache("twice", Policy::default()).expect("free");
    let second = caches.cache::<u32, u32>("twice", Policy::default());
    assert!(matches!(second, Err(ConfigError::Duplicate { name }) if name == "twice"));
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    shelf: u8,
    slot: u8,
}

impl CacheKey for Place {
    fn write_key(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        write!(out, "{}/{}", self.shelf, self.slot)
    }
}

#[tokio::test]
async fn keys_are_anything_displayable_and_types_that_say_how() {
    let ids = TieredCache::memory("ids", Policy::default()).expect("sound");
    let id = uuid::Uuid::from_u128(7);
    ids.insert(&id, 1).await;
    assert!(ids.get(&id).await.is_hit());
    let places = TieredCache::memory("places", Policy::default()).expect("sound");
    places.insert(&Place { shelf: 1, slot: 2 }, 1).await;
    assert!(places.get(&Place { shelf: 1, slot: 2 }).await.is_hit());
    assert!(!places.get(&Place { shelf: 2, slot: 1 }).await.is_hit());
}

/// Goal: the bounded table of what was invalidated does not bound what memory holds. Method: far more
/// insertions than it remembers, each into a cache that has room for all.
#[tokio::test]
async fn insertions_push_nothing_out_that_there_is_room_for() {
    let policy = Policy {
        capacity: Capacity::Entries(200_000),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u32> = TieredCache::memory("many", policy).expect("sound");
    for key in 0..100_000 {
        cache.insert(&key, key).await;
    }
    let missing = (0..100_000).filter(|key| cache.peek(key).is_none());
    assert_eq!(missing.count(), 0);
    for key in 0..90_000 {
        cache.remove(&key).await;
    }
    assert_eq!(
        (0..90_000).filter(|key| cache.peek(key).is_some()).count(),
        0
    );
    let missing = (90_000..100_000).filter(|key| cache.peek(key).is_none());
    assert_eq!(missing.count(), 0, "removals of others neither");
}

#[tokio::test]
async fn what_goes_past_the_cache_leaves_it_as_it_is() {
    let cache = cache(Policy {
        max_tags: 1,
        ..Policy::default()
    });
    cache.insert(&1, "kept".to_owned()).await;
    let past = || cache.entry(&1).tags(["a", "b"]).bypass();
    let other = || async { Ok::<_, std::io::Error>(Some("other".to_owned())) };
    let answer = past().get_or_load(other).await.expect("it loads");
    assert_eq!(answer.value().map(|value| value.as_str()), Some("other"));
    let none = || async { Ok::<Option<String>, std::io::Error>(None) };
    let answer = past().get_or_load(none).await.expect("it loads");
    assert_eq!(answer, Lookup::Absent);
    assert_eq!(cache.peek(&1).as_deref().map(String::as_str), Some("kept"));
}

#[tokio::test]
async fn what_is_found_below_weighs_in_memory_what_it_weighed_when_it_was_loaded() {
    let builder = Caches::builder().tier(Shelf::new(TierKind::Other));
    let caches = builder.build().await.expect("nothing is opened");
    let cache: TieredCache<u32, String> = TieredCache::builder("bytes")
        .capacity(Capacity::Bytes(16 << 20))
        .build(&caches)
        .expect("it is sound");
    // Below memory it is compressed to a few bytes; in memory it is held as it is.
    let value = "value".repeat(1_000);
    let below = TierSet::ALL.without(TierKind::Memory);
    cache.entry(&1).tiers(below).insert(value).await;
    assert_eq!(cache.stats().bytes, 0);
    assert_eq!(cache.get(&1).await.tier(), Some(TierKind::Other));
    let promoted = cache.stats().bytes;
    let value = cache.peek(&1).expect("promoted").to_string();
    cache.insert(&1, value).await;
    assert_eq!(promoted, cache.stats().bytes);
    assert!(promoted > 5_000, "{promoted}");
}

#[tokio::test]
async fn a_large_value_found_below_is_packed_again() {
    let shelf = Shelf::new(TierKind::Other);
    let caches = Caches::builder().tier(Arc::clone(&shelf) as _);
    let caches = caches.build().await.expect("nothing to fail");
    let policy = Policy {
        capacity: Capacity::Bytes(1 << 20),
        pack_above: Some(10_000),
        ..Policy::default()
    };
    let cache: TieredCache<u32, String> = caches.cache("packed", policy).expect("sound");
    let below = TierSet::ALL.without(TierKind::Memory);
    for key in 0..100 {
        let value = "x".repeat(100_000);
        cache.entry(&key).tiers(below).insert(value).await;
        assert_eq!(cache.get(&key).await.tier(), Some(TierKind::Other));
    }
    assert_eq!(cache.stats().entries, 100, "10 MB in 1 MiB, packed");
    let found = cache.get(&7).await;
    assert_eq!(found.tier(), Some(TierKind::Memory));
    assert_eq!(found.value().map(|value| value.len()), Some(100_000));
}

#[tokio::test(start_paused = true)]
async fn reads_keep_a_packed_value_alive_and_peeking_keeps_none() {
    let caches = Caches::builder().build().await.expect("nothing to fail");
    for pack_above in [None, Some(100)] {
        let name = format!("idle-{}", pack_above.is_some());
        let policy = Policy {
            idle_ttl: Some(Duration::from_secs(10)),
            pack_above,
            ..Policy::default()
        };
        let cache: TieredCache<u32, String> = caches.cache(&name, policy).expect("sound");
        cache.insert(&1, "x".repeat(1_000)).await;
        for _ in 0..5 {
            advance(Duration::from_secs(8)).await;
            assert!(cache.get(&1).await.is_hit(), "{name}: it was just read");
        }
        advance(Duration::from_secs(8)).await;
        assert!(cache.peek(&1).is_some());
        advance(Duration::from_secs(8)).await;
        assert_eq!(cache.peek(&1), None, "{name}: nobody read it");
    }
}

/// A value whose own code panics when it is dropped.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a value's own fault");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_panics_while_it_is_dropped_does_not_end_the_housekeeping() {
    let caches = Caches::builder().build().await.expect("nothing to fail");
    let policy = Policy {
        ttl: Duration::from_secs(1),
        ..Policy::default()
    };
    let mines: TieredCache<u32, Mine> = caches.cache("a-mines", policy.clone()).expect("sound");
    let other: TieredCache<u32, u32> = caches.cache("b-other", policy.clone()).expect("sound");
    let alone: TieredCache<u32, Mine> = TieredCache::memory("alone", policy).expect("sound");
    mines.insert(&1, Mine).await;
    alone.insert(&1, Mine).await;
    other.insert(&1, 1).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(other.stats().entries, 0, "swept all the same");
    alone.insert(&2, Mine).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(alone.stats().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn caches_are_kept_in_order_as_long_as_one_of_them_is_in_use() {
    let caches = Caches::builder().build().await.expect("nothing to fail");
    let policy = Policy {
        ttl: Duration::from_secs(1),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u32> = caches.cache("outlives", policy).expect("sound");
    drop(caches);
    cache.insert(&1, 1).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(cache.stats().entries, 0, "swept");
}

#[tokio::test]
async fn a_clock_that_would_stand_still_is_refused() {
    for precision in [Duration::from_secs(2), Duration::MAX] {
        let builder = Caches::builder().clock_precision(precision);
        let error = builder.build().await.expect_err("nothing would expire");
        assert!(error.to_string().contains("clock_precision"), "{error}");
    }
}
