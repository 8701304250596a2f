//! What a warm disk tier is worth after a restart: the share of reads that hit before and after.

use std::path::Path;

use harness::{Effort, Figures, Suite};
use tiered_cache::{Caches, DiskConfig, TieredCache};

use crate::data::{policy, value, zipf};

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "restart",
        "reads that go to the loader, before a restart and after it with a warm disk tier: 5,000 keys, Zipf-like, 500 \
         in memory",
        restart,
    );
}

const KEYS: u64 = 5_000;

fn restart(figures: &mut Figures<'_>) {
    let reads = match figures.effort() {
        Effort::Smoke => 2_000,
        Effort::Quick => 20_000,
        Effort::Normal | Effort::Full => 60_000,
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (before, after, cold) = figures.on_all_cores(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut random = fastrand::Rng::with_seed(9);
            let (caches, cache) = open(folder.path()).await;
            loads(&cache, &mut random, reads).await;
            let before = loads(&cache, &mut random, reads).await;
            caches.close().await;
            // They hold the folder.
            drop((caches, cache));
            let (caches, cache) = open(folder.path()).await;
            let after = loads(&cache, &mut random, reads).await;
            caches.close().await;
            drop((caches, cache));
            let empty = tempfile::tempdir().expect("a temporary folder");
            let (caches, cache) = open(empty.path()).await;
            let cold = loads(&cache, &mut random, reads).await;
            caches.close().await;
            (before, after, cold)
        })
    });
    figures.ours("loads_before", "%", &[before]);
    figures.ours("loads_after", "%", &[after]);
    figures.peer("empty folder", "loads_after", "%", &[cold]);
    figures.ours("lost", "%", &[after - before]);
    figures.goal("lost", "%", 5.0);
}

async fn open(folder: &Path) -> (Caches, TieredCache<u64, String>) {
    let disk = DiskConfig {
        path: folder.into(),
        capacity_bytes: 64 << 20,
        ..DiskConfig::default()
    };
    let caches = Caches::builder()
        .disk(disk)
        .build()
        .await
        .expect("a folder");
    let cache = caches.cache("values", policy(500)).expect("a policy");
    (caches, cache)
}

/// The share of reads that the loader had to answer, in percent.
async fn loads(cache: &TieredCache<u64, String>, random: &mut fastrand::Rng, reads: u64) -> f64 {
    let mut loaded = 0_u64;
    for _ in 0..reads {
        let key = zipf(random, KEYS);
        let load = move || async move { Ok::<_, std::convert::Infallible>(Some(value(key))) };
        let found = cache.get_or_load(&key, load).await.expect("it loads");
        loaded += u64::from(found.tier().is_none());
    }
    loaded as f64 * 100.0 / reads as f64
}
