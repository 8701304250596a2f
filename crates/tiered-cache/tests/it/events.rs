//! Events: what a listener is told, and that it is told nothing of hits.

use std::{convert::Infallible, time::Duration};

use expect_test::{Expect, expect};
use futures_util::stream;
use tiered_cache::{
    CacheEvents, Caches, Capacity, Effect, Invalidation, Policy, Tag, TierKind, TieredCache,
};
use tokio::time::sleep;

use crate::shelf::Shelf;

fn check(events: &mut CacheEvents, wanted: &Expect) {
    let mut lines = Vec::new();
    while let Some(event) = events.try_recv() {
        lines.push(serde_json::to_string(&event).expect("plain data"));
    }
    wanted.assert_eq(&lines.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn loads_and_invalidations_are_told_and_hits_are_not() {
    let caches = Caches::builder().build().await.expect("it opens");
    let builder = TieredCache::<u32, u32>::builder("numbers").prefixes('1');
    let numbers = builder.build(&caches).expect("it is sound");
    numbers.insert(&1, 1).await;
    let mut events = caches.events();
    numbers.get(&1).await;
    let load = || async {
        sleep(Duration::from_millis(20)).await;
        Ok::<_, Infallible>(Some(7))
    };
    numbers.get_or_load(&2, load).await.expect("it loads");
    numbers.get_or_load(&2, load).await.expect("it is there");
    let none = || async { Ok::<_, Infallible>(None) };
    numbers.get_or_load(&3, none).await.expect("it loads");
    numbers.expire(&1).await;
    numbers.remove(&2).await;
    numbers.invalidate_prefix("31", Effect::Remove).await;
    caches.invalidate_tag("team:3", Effect::Expire).await;
    numbers.clear().await;
    check(
        &mut events,
        &expect![[r#"
        {"event":"loaded","cache":"numbers","key":"2","outcome":"value","took":0.02}
        {"event":"loaded","cache":"numbers","key":"3","outcome":"absent","took":0.0}
        {"event":"expired","cache":"numbers","key":"1"}
        {"event":"removed","cache":"numbers","key":"2"}
        {"event":"invalidated","what":"prefix \"31\" of cache numbers","effect":"remove"}
        {"event":"invalidated","what":"tag 606fe9e68275c95e","effect":"expire"}
        {"event":"invalidated","what":"everything of cache numbers","effect":"remove"}"#]],
    );
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_told_with_its_reason_and_counted_for_each_reader() {
    let policy = Policy {
        ttl: Duration::from_secs(10),
        ttl_jitter: 0.0,
        stale_if_error: Duration::from_secs(3600),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u32> = TieredCache::memory("numbers", policy).expect("it is sound");
    cache.insert(&1, 1).await;
    sleep(Duration::from_secs(20)).await;
    let mut events = cache.events();
    let fail = || async {
        sleep(Duration::from_millis(20)).await;
        Err::<Option<u32>, _>("the origin is down")
    };
    let (one, other) = tokio::join!(cache.get_or_load(&1, fail), cache.get_or_load(&1, fail));
    assert!(one.expect("a fallback").is_stale() && other.expect("a fallback").is_stale());
    check(
        &mut events,
        &expect![[r#"
        {"event":"loaded","cache":"numbers","key":"1","outcome":"failed","took":0.02}
        {"event":"stale_served","cache":"numbers","key":"1","reason":"error"}
        {"event":"stale_served","cache":"numbers","key":"1","reason":"error"}"#]],
    );
    let stats = cache.stats();
    assert_eq!(
        (stats.stale_served, stats.fallbacks, stats.coalesced),
        (2, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_to_leave_memory_is_told() {
    let policy = Policy {
        capacity: Capacity::Entries(10),
        ..Policy::default()
    };
    let cache: TieredCache<u32, u32> = TieredCache::memory("few", policy).expect("it is sound");
    let mut events = cache.events();
    for key in 0..200 {
        cache.insert(&key, key).await;
    }
    let stats = cache.stats();
    assert!(stats.evictions >= 150, "{stats}");
    let mut told = 0;
    while let Some(event) = events.try_recv() {
        assert!(
            matches!(event, tiered_cache::CacheEvent::Evicted { .. }),
            "{event:?}"
        );
        told += 1;
    }
    assert_eq!(told, stats.evictions);
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_or_an_event_invalidates_is_told() {
    let caches = Caches::builder()
        .tier(Shelf::new(TierKind::Other))
        .build()
        .await
        .expect("it opens");
    let numbers: TieredCache<u32, u32> = caches.cache("numbers", Policy::default()).expect("sound");
    let mut events = caches.events();
    let mut batch = caches.invalidations().begin();
    batch.push(Invalidation::key(&numbers, &1));
    batch.push(Invalidation::key(&numbers, &2).expire());
    batch.push(Invalidation::cache(&numbers));
    batch.prepare().await.expect("there is nobody to ask");
    check(&mut events, &expect![""]);
    batch.commit().await;
    let applied = Invalidation::tag("team:3").expire();
    caches.invalidations().apply([applied]).await;
    let of_event = |key: u32| [Invalidation::key(&numbers, &key)];
    let follow = caches.invalidations();
    follow.follow(stream::iter([7]), of_event).await;
    check(
        &mut events,
        &expect![[r#"
        {"event":"removed","cache":"numbers","key":"1"}
        {"event":"expired","cache":"numbers","key":"2"}
        {"event":"invalidated","what":"everything of cache numbers","effect":"remove"}
        {"event":"invalidated","what":"tag 606fe9e68275c95e","effect":"expire"}
        {"event":"removed","cache":"numbers","key":"7"}"#]],
    );
    assert!(format!("{:?}", Tag::new("team:3")).contains("606fe9e68275c95e"));
}
