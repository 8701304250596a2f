//! Loading ahead of reads: by relations, by what was learned, and by request.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use tiered_cache::TieredCache;
use tokio::time::sleep;

use crate::warm::Origin;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn what_a_relation_names_is_loaded_ahead_and_counted_when_it_is_read() {
    let origin = Origin::default();
    let builder = origin.builder().related(|key, value| {
        assert_eq!(*value, key * 10);
        vec![key + 100, key + 200]
    });
    let cache = builder.build_in_memory().expect("it is sound");
    cache.fetch(&1).await.expect("it loads");
    sleep(SECOND).await;
    // 101 was loaded ahead, and nobody read it: so 201 is by 1, and not 301 by 201.
    assert_eq!(origin.loads(), [1, 101, 201]);
    let stats = cache.stats();
    assert_eq!((stats.prefetched, stats.prefetch_hits), (2, 0));

    cache.fetch(&101).await.expect("it is there");
    cache.fetch(&101).await.expect("it is there");
    sleep(SECOND).await;
    // Its first read leads on: 201 is there, 301 was not.
    assert_eq!(origin.loads(), [301]);
    let stats = cache.stats();
    assert_eq!((stats.prefetched, stats.prefetch_hits), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn loads_ahead_beyond_their_bulkhead_are_skipped_and_readers_go_first() {
    let origin = Origin::default();
    let builder = origin
        .builder()
        .related(|key, _| (key + 1..key + 200).collect());
    let cache = builder.build_in_memory().expect("it is sound");
    cache.fetch(&1_000).await.expect("it loads");
    cache.fetch(&2_000).await.expect("it loads");
    sleep(SECOND).await;
    let stats = cache.stats();
    assert_eq!(stats.prefetched + stats.prefetch_skipped, 128);
    assert!(stats.prefetch_skipped > 40, "{stats}");
    assert_eq!(stats.loads_failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_relation_that_panics_costs_its_loads_alone() {
    let origin = Origin::default();
    let builder = origin.builder().related(|key, _| match key {
        1 => panic!("a fault of the relation"),
        _ => vec![7],
    });
    let cache = builder.build_in_memory().expect("it is sound");
    let read = cache.fetch(&1).await.expect("it loads");
    assert_eq!(read.value().map(|value| **value), Some(10));
    cache.fetch(&2).await.expect("it loads");
    sleep(SECOND).await;
    assert_eq!(origin.loads(), [1, 2, 7]);
}

#[tokio::test(start_paused = true)]
async fn what_one_task_loads_after_a_key_is_learned_and_loaded_ahead() {
    let origin = Origin::default();
    let cache = origin.builder().learn_successors(0.5).build_in_memory();
    let cache = cache.expect("it is sound");
    // A habit: whoever reads n reads n + 500 next.
    let visit = |key: u32| {
        let cache = cache.clone();
        tokio::spawn(async move {
            cache.fetch(&key).await.expect("it loads");
            sleep(Duration::from_millis(100)).await;
            cache.fetch(&(key + 501)).await.expect("it loads");
            cache.clear().await;
        })
    };
    for _ in 0..3 {
        visit(1).await.expect("it does not panic");
    }
    assert_eq!(cache.stats().prefetched, 0, "not sure yet");
    for _ in 0..20 {
        visit(1).await.expect("it does not panic");
    }
    let stats = cache.stats();
    assert!(stats.prefetch_hits >= 19, "{stats}");
    assert_eq!(stats.prefetched, stats.prefetch_hits);
}

#[tokio::test(start_paused = true)]
async fn another_cache_can_be_told_to_load_ahead() {
    let origin = Origin::default();
    let numbers = origin.cache();
    let names: TieredCache<String, Vec<u32>> = {
        let numbers = numbers.clone();
        TieredCache::builder("names")
            .loader(|_, _| async { Ok::<_, Infallible>(Some(vec![4, 5])) })
            .related(move |_, ids: &Vec<u32>| {
                numbers.prefetch(ids.iter().copied());
                Vec::new()
            })
            .build_in_memory()
            .expect("it is sound")
    };
    names.fetch(&"a".to_owned()).await.expect("it loads");
    sleep(SECOND).await;
    let held: BTreeSet<_> = [4, 5, 6]
        .into_iter()
        .filter(|key| numbers.peek(key).is_some())
        .collect();
    assert_eq!(held, BTreeSet::from([4, 5]));
    assert_eq!(numbers.stats().prefetched, 2);
}

#[test]
fn loading_ahead_outside_of_a_runtime_does_nothing() {
    let cache = Origin::default().cache();
    cache.prefetch([1, 2]);
    assert_eq!(cache.stats().prefetched, 0);
}
