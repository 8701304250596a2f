//! What is counted, and under which names.

use std::convert::Infallible;

use expect_test::expect;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tiered_cache::{Policy, TieredCache};

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
