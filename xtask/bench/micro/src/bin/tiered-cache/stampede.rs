//! A stampede: thousands of callers ask for one absent key at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness::{Effort, Figures, Suite};
use tiered_cache::TieredCache;

use crate::data::policy;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "stampede",
        "10,000 tasks ask for one absent key whose loader takes 10 ms: loads, and the time until all are answered as a \
         multiple of the loader's",
        stampede,
    );
}

const LOADER: Duration = Duration::from_millis(10);

fn stampede(figures: &mut Figures<'_>) {
    let (callers, rounds) = match figures.effort() {
        Effort::Smoke => (100, 1),
        Effort::Quick => (10_000, 5),
        Effort::Normal | Effort::Full => (10_000, 21),
    };
    let taken = figures.on_all_cores(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .expect("a runtime");
        let ours: Vec<_> = (0..rounds)
            .map(|_| runtime.block_on(ours(callers)))
            .collect();
        let moka: Vec<_> = (0..rounds)
            .map(|_| runtime.block_on(moka(callers)))
            .collect();
        let cell: Vec<_> = (0..rounds)
            .map(|_| runtime.block_on(cell(callers)))
            .collect();
        (ours, moka, cell)
    });
    let column = |of: &[(u32, Duration)]| -> (Vec<f64>, Vec<f64>) {
        let loads = of.iter().map(|(loads, _)| f64::from(*loads));
        let multiples = of
            .iter()
            .map(|(_, took)| took.as_secs_f64() / LOADER.as_secs_f64());
        (loads.collect(), multiples.collect())
    };
    let (loads, multiples) = column(&taken.0);
    figures.ours("loads", "x", &loads);
    figures.ours("answered_within", "x", &multiples);
    let (loads, multiples) = column(&taken.1);
    figures.peer("moka try_get_with", "loads", "x", &loads);
    figures.peer("moka try_get_with", "answered_within", "x", &multiples);
    let (loads, multiples) = column(&taken.2);
    figures.peer("floor: tokio OnceCell", "loads", "x", &loads);
    figures.peer("floor: tokio OnceCell", "answered_within", "x", &multiples);
    figures.goal("loads", "x", 1.0);
    figures.goal("answered_within", "x", 1.5);
}

async fn ours(callers: usize) -> (u32, Duration) {
    let cache: TieredCache<u64, u64> = TieredCache::memory("bench", policy(10)).expect("a policy");
    let loads = Arc::new(AtomicU32::new(0));
    let took = all(callers, || {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        async move {
            let loader = || async move { slow(&loads).await.map(Some) };
            let found = cache.get_or_load(&1, loader).await.expect("it loads");
            assert_eq!(found.value().map(|value| **value), Some(7));
        }
    })
    .await;
    (loads.load(Ordering::SeqCst), took)
}

async fn moka(callers: usize) -> (u32, Duration) {
    let cache: moka::future::Cache<u64, u64> = moka::future::Cache::new(10);
    let loads = Arc::new(AtomicU32::new(0));
    let took = all(callers, || {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        async move {
            let found = cache.try_get_with(1, async { slow(&loads).await }).await;
            assert_eq!(found.expect("it loads"), 7);
        }
    })
    .await;
    (loads.load(Ordering::SeqCst), took)
}

/// One value and nothing else: what so many tasks and their waking cost here.
async fn cell(callers: usize) -> (u32, Duration) {
    let cell: Arc<tokio::sync::OnceCell<u64>> = Arc::default();
    let loads = Arc::new(AtomicU32::new(0));
    let took = all(callers, || {
        let (cell, loads) = (Arc::clone(&cell), Arc::clone(&loads));
        async move {
            let found = cell.get_or_try_init(|| slow(&loads)).await;
            assert_eq!(found.copied(), Ok(7));
        }
    })
    .await;
    (loads.load(Ordering::SeqCst), took)
}

async fn slow(loads: &AtomicU32) -> Result<u64, std::convert::Infallible> {
    loads.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(LOADER).await;
    Ok(7)
}

/// Starts all of them, then lets them go at once; the time runs from there.
async fn all<F: Future<Output = ()> + Send + 'static>(
    callers: usize,
    call: impl Fn() -> F,
) -> Duration {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (gate, call) = (Arc::clone(&gate), call());
            tokio::spawn(async move {
                let _through = gate.acquire().await.expect("never closed");
                call.await;
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    gate.add_permits(callers);
    for task in tasks {
        task.await.expect("no panic");
    }
    started.elapsed()
}
