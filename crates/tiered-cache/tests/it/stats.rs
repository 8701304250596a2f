//! What is counted, and under which names.

use std::convert::Infallible;

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
    assert_eq!(
        stats.to_string(),
        "counted: 33.3 % hits (memory 1, redis 0, disk 0), 1 loads, 0 coalesced, 0 failed, \
         0 entries"
    );
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
        if let DebugValue::Counter(count @ 1..) = value {
            seen.push(format!(
                "{}{{{}}} {count}",
                key.key().name(),
                labels.join(",")
            ));
        }
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "tiered_cache_removals_total{cache=counted} 1",
            "tiered_cache_requests_total{cache=counted,tier=loader,outcome=hit} 1",
            "tiered_cache_requests_total{cache=counted,tier=memory,outcome=hit} 1",
            "tiered_cache_requests_total{cache=counted,tier=memory,outcome=miss} 2",
        ]
    );
}
