//! What is counted, and under which names.

use std::{convert::Infallible, sync::Arc, time::Duration};

use expect_test::expect;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tiered_cache::{BoxError, Caches, Codec, Policy, TierKind, TieredCache};
use tokio::time::sleep;

use crate::shelf::Shelf;

#[test]
fn every_read_shows_in_the_statistics_and_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let cache: TieredCache<u32, u32> = metrics::with_local_recorder(&recorder, || {
        TieredCache::memory("counted", Policy::default()).expect("the policy is sound")
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        cache.get(&1).await;
        cache
            .get_or_load(&1, || async { Ok::<_, Infallible>(Some(1)) })
            .await
            .expect("it loads");
        cache.get(&1).await;
        cache.remove(&1).await;
    });
    let stats = cache.stats();
    assert_eq!(
        (stats.memory.hits, stats.memory.misses, stats.loads),
        (1, 2, 1)
    );
    assert_eq!(stats.removals, 1);
    expect![[r#"
        counted: 33.3 % of 3 reads answered, 0 entries
          memory    33.3 %  1 of 3
          loads    1 gave a value
                   took 0.0ns (p50), 0.0ns (p95), 0.0ns (p99), 0.0ns (longest)
          writes   1 removed"#]]
    .assert_eq(&stats.to_string());
    assert_eq!(
        serde_json::to_value(&stats).expect("plain data")["memory"]["hits"],
        1
    );

    let mut seen = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key
            .key()
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let value = match value {
            DebugValue::Counter(count @ 1..) => count.to_string(),
            DebugValue::Gauge(level) => level.to_string(),
            DebugValue::Histogram(all) => format!("{} recorded", all.len()),
            DebugValue::Counter(0) => continue,
        };
        seen.push(format!(
            "{}{{{}}} {value}",
            key.key().name(),
            labels.join(",")
        ));
    }
    seen.sort();
    expect![[r#"
        tiered_cache_bytes{cache=counted,tier=memory} 0
        tiered_cache_entries{cache=counted,tier=memory} 0
        tiered_cache_load_seconds{cache=counted} 1 recorded
        tiered_cache_loads_total{cache=counted,outcome=value} 1
        tiered_cache_removals_total{cache=counted} 1
        tiered_cache_requests_total{cache=counted,tier=memory,outcome=hit} 1
        tiered_cache_requests_total{cache=counted,tier=memory,outcome=miss} 2"#]]
    .assert_eq(&seen.join("\n"));
}

fn seen(snapshotter: &Snapshotter) -> Vec<String> {
    let mut seen = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| label.value()).collect();
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(level) => level.to_string(),
            DebugValue::Histogram(_) => continue,
        };
        seen.push(format!("{} {} {value}", key.key().name(), labels.join(",")));
    }
    seen
}

#[test]
fn what_caches_share_shows_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let shelf = Shelf::new(TierKind::Other);
            let builder = Caches::builder().tier(Arc::clone(&shelf) as _);
            let caches = builder.build().await.expect("it opens");
            let cache: TieredCache<u32, u32> =
                caches.cache("shared", Policy::default()).expect("sound");
            cache.get(&1).await;
            sleep(Duration::from_secs(2)).await;
            let closed = "tiered_cache_breaker_open other 0".to_owned();
            assert!(seen(&snapshotter).contains(&closed));
            shelf.fail(true);
            for key in 0..100 {
                cache.get(&key).await;
            }
            sleep(Duration::from_secs(2)).await;
            let open = "tiered_cache_breaker_open other 1".to_owned();
            assert!(
                seen(&snapshotter).contains(&open),
                "{:?}",
                seen(&snapshotter)
            );
        });
    });
}

#[cfg(feature = "disk")]
#[test]
fn what_the_disk_tier_does_shows_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let disk = tiered_cache::DiskConfig {
                path: folder.path().into(),
                capacity_bytes: 16 << 20,
                ..tiered_cache::DiskConfig::default()
            };
            let caches = Caches::builder()
                .disk(disk)
                .build()
                .await
                .expect("it opens");
            let cache: TieredCache<u32, u32> =
                caches.cache("kept", Policy::default()).expect("sound");
            cache.insert(&1, 1).await;
            // The housekeeping tells it within a second.
            let written = "tiered_cache_disk_written_total  1".to_owned();
            while !seen(&snapshotter).contains(&written) {
                sleep(Duration::from_millis(20)).await;
            }
            let all = seen(&snapshotter);
            for series in [
                "queue_entries",
                "queue_bytes",
                "dropped_total",
                "refused_total",
            ] {
                let none = format!("tiered_cache_disk_{series}  0");
                assert!(all.contains(&none), "{all:?}");
            }
            caches.close().await;
        });
    });
}

/// A value whose drop panics when it is told to.
#[derive(Debug)]
struct Fragile(bool);

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "a fault of the value");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_drop_panics_stops_no_housekeeping() {
    let caches = Caches::builder().build().await.expect("it opens");
    let policy = || Policy {
        ttl: Duration::from_secs(5),
        ..Policy::default()
    };
    let fragile = TieredCache::<u32, Fragile>::builder("a").policy(policy());
    let fragile = fragile.build_with(&caches, NoCodec).expect("it is sound");
    let others: TieredCache<u32, u32> = caches.cache("b", policy()).expect("sound");
    fragile.insert(&1, Fragile(true)).await;
    others.insert(&1, 1).await;
    sleep(Duration::from_secs(20)).await;
    others.insert(&2, 2).await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(others.stats().expirations, 2);
}

struct NoCodec;

impl Codec<Fragile> for NoCodec {
    fn name(&self) -> &'static str {
        "none"
    }

    fn encode(&self, _: &Fragile) -> Result<Vec<u8>, BoxError> {
        Err("not wanted".into())
    }

    fn decode(&self, _: &[u8]) -> Result<Fragile, BoxError> {
        Err("not wanted".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_dropped_leaves_its_last_counts_and_no_size() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let cache: TieredCache<u32, u32> = metrics::with_local_recorder(&recorder, || {
        TieredCache::memory("gone", Policy::default()).expect("sound")
    });
    cache.insert(&1, 1).await;
    sleep(Duration::from_secs(2)).await;
    let entries = |count| format!("tiered_cache_entries gone,memory {count}");
    assert!(seen(&snapshotter).contains(&entries(1)));
    cache.get(&1).await;
    drop(cache);
    let all = seen(&snapshotter);
    assert!(all.contains(&entries(0)), "{all:?}");
    let hits = "tiered_cache_requests_total gone,memory,hit 1".to_owned();
    assert!(all.contains(&hits), "{all:?}");
}
