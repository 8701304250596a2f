//! Load: many tasks that do the same again and again, and what one of it took.

use std::time::{Duration, Instant};

use harness::Effort;

/// As many workers as the machine of the figures has cores.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Rounds, and calls of each task in a round.
pub(crate) fn amount(effort: Effort, calls: usize) -> (usize, usize) {
    match effort {
        Effort::Smoke => (1, 2),
        Effort::Quick => (5, calls / 2),
        Effort::Normal | Effort::Full => (15, calls),
    }
}

/// Microseconds for each call, of `tasks` tasks that make `calls` each: the time of all by their number.
pub(crate) async fn tasks<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    calls: usize,
    call: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let started = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let call = call.clone();
            tokio::spawn(async move {
                for at in 0..calls {
                    call(task * 7919 + at * 31).await;
                }
            })
        })
        .collect();
    for task in running {
        task.await.expect("no panic");
    }
    micros(started.elapsed()) / (tasks * calls) as f64
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Each of `ours` as a multiple of what the peer took in the same round.
pub(crate) fn beside(ours: &[f64], peer: &[f64]) -> Vec<f64> {
    ours.iter()
        .zip(peer)
        .map(|(ours, peer)| ours / peer)
        .collect()
}
