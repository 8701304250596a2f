//! Borrowing when there is more demand than connections: what it costs, and whether anybody waits much longer than others.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::{Effort, Figures, Suite};

use crate::load::{amount, beside, micros, runtime, tasks};
use crate::sqlite;

pub(crate) fn add(suite: &mut Suite) {
    suite.figures(
        "contended",
        "512 tasks over 8 connections (SQLite readers) that borrow and give back at once: microseconds each",
        contended,
    );
    suite.figures(
        "fairness",
        "512 tasks over 8 connections that hold each for 1 ms: the longest wait as a multiple of the mean",
        fairness,
    );
}

const CONNECTIONS: u32 = 8;
const TASKS: usize = 512;

fn contended(figures: &mut Figures<'_>) {
    let (rounds, calls) = amount(figures.effort(), 100);
    let (ours, bb8) = figures.on_all_cores(|| {
        runtime().block_on(async {
            let ours = sqlite::ours(CONNECTIONS).await;
            let bb8 = sqlite::bb8(CONNECTIONS, false).await;
            let mut samples: [Vec<f64>; 2] = Default::default();
            for _ in 0..rounds {
                let pool = (*ours).clone();
                let took = tasks(TASKS, calls, move |_| {
                    let pool = pool.clone();
                    async move { drop(pool.read().await.expect("a connection in time")) }
                });
                samples[0].push(took.await);
                let pool = (*bb8).clone();
                let took = tasks(TASKS, calls, move |_| {
                    let pool = pool.clone();
                    async move { drop(pool.get().await.expect("a connection in time")) }
                });
                samples[1].push(took.await);
            }
            let [ours, bb8] = samples;
            (ours, bb8)
        })
    });
    figures.ours("borrow", "us", &ours);
    figures.peer("bb8 untested", "borrow", "us", &bb8);
    figures.ours("beside_bb8", "x", &beside(&ours, &bb8));
    figures.goal("beside_bb8", "x", 1.1);
}

fn fairness(figures: &mut Figures<'_>) {
    let rounds = match figures.effort() {
        Effort::Smoke => 1,
        Effort::Quick => 3,
        Effort::Normal | Effort::Full => 9,
    };
    let (ours, bb8) = figures.on_all_cores(|| {
        runtime().block_on(async {
            let ours = sqlite::ours(CONNECTIONS).await;
            let bb8 = sqlite::bb8(CONNECTIONS, false).await;
            let mut samples: [Vec<f64>; 2] = Default::default();
            for _ in 0..rounds {
                let pool = (*ours).clone();
                let waits = held(move || {
                    let pool = pool.clone();
                    async move { pool.read().await.expect("a connection in time") }
                });
                samples[0].push(waits.await);
                let pool = (*bb8).clone();
                let waits = held(move || {
                    let pool = pool.clone();
                    async move { pool.get_owned().await.expect("a connection in time") }
                });
                samples[1].push(waits.await);
            }
            let [ours, bb8] = samples;
            (ours, bb8)
        })
    });
    figures.ours("longest_wait", "x_mean", &ours);
    figures.peer("bb8 untested", "longest_wait", "x_mean", &bb8);
    figures.goal("longest_wait", "x_mean", 2.0);
}

/// The longest wait of all, as a multiple of the mean, once the queue is full.
async fn held<T, F: Future<Output = T> + Send + 'static>(
    borrow: impl Fn() -> F + Clone + Send + 'static,
) -> f64
where
    T: Send,
{
    let waits = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (borrow, waits) = (borrow.clone(), Arc::clone(&waits));
            tokio::spawn(async move {
                for round in 0..4 {
                    let started = Instant::now();
                    let connection = borrow().await;
                    let waited = micros(started.elapsed());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    drop(connection);
                    // In the first round the queue only fills.
                    if round > 0 {
                        waits.lock().expect("no panic").push(waited);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let waits = waits.lock().expect("no panic");
    let mean = waits.iter().sum::<f64>() / waits.len() as f64;
    waits.iter().copied().fold(0.0, f64::max) / mean
}
