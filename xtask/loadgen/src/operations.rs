//! Drives asynchronous operations by the models of a load, on a runtime of its own: what [`run`](crate::run) is for
//! HTTP, for crates that are called directly.
//!
//! Users are tasks, and the crate under test shares their threads: there is no generator beside it to subtract.

mod arrivals;
mod recorder;
mod users;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use users::Users;

use crate::affinity::Pinned;
use crate::run::judge::judge;
use crate::{ErrorClass, Generator, Load, Outcome, Stop};

/// A run that drove a pool or a cache directly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// As of an HTTP run. Its routes are the operations; its generator is the thread that paces an open model, whose lag
    /// includes that a busy runtime is late to wake a task.
    pub outcome: Outcome,
    /// CPU time of this whole process within the measurement: of the crate under test, of the driver for SQLite or
    /// Redis, and of the users.
    pub cpu: Duration,
    /// Share of the operations' time that was spent waiting for a connection of the pool.
    pub pool_wait: Option<f64>,
    /// What the pool or the cache says about itself, one line each.
    pub notes: Vec<String>,
}

/// What is driven.
pub(crate) trait Operations: Send + Sync + 'static {
    /// Names of the operations.
    const NAMES: [&'static str; 3];

    /// Their weights; one at least is above 0.
    fn weights(&self) -> [u32; 3];

    /// Carries out the operation at that place of [`NAMES`](Self::NAMES).
    fn carry_out(
        &self,
        operation: usize,
        random: &mut fastrand::Rng,
    ) -> impl Future<Output = Result<(), ErrorClass>> + Send;
}

/// A runtime whose threads, and those that they start, stay on the cores of the load.
pub(crate) fn runtime(load: &Load) -> io::Result<Runtime> {
    let _pinned = Pinned::to(&load.cpus)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(load.threads)
        .thread_name("loadgen")
        .enable_all()
        .build()
}

/// Carries out a load that is [valid](Load::validate), blocking until it is over.
pub(crate) fn drive<O: Operations>(
    runtime: &Runtime,
    operations: &Arc<O>,
    load: &Load,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> io::Result<Measured> {
    let users = Arc::new(Users::new(Arc::clone(operations), load));
    let tasks = users.start(runtime);
    let (mut watched, unsent, pacing_cpu) = thread::scope(|scope| {
        let pacing = users.arrivals.as_ref().map(|arrivals| {
            thread::Builder::new()
                .name("pacing".to_owned())
                .spawn_scoped(scope, || arrivals.pace(users.began))
        });
        let pacing = pacing.transpose().inspect_err(|_| users.give_up())?;
        let watched = users.watch(stop, progress);
        let unsent = users.unsent();
        let pacing_cpu = pacing.map_or(Duration::ZERO, |thread| thread.join().unwrap_or_default());
        Ok::<_, io::Error>((watched, unsent, pacing_cpu))
    })?;
    // Whoever stops waits for nobody. Otherwise each user ends once its present operation does.
    let patience = if watched.stopped {
        Duration::ZERO
    } else {
        load.timeout
    };
    runtime.block_on(users::end(tasks, patience + END_PATIENCE));
    if !watched.elapsed.is_zero() {
        let last = users.recorder.close_second(watched.seconds.len());
        watched.seconds.push(last);
    }
    progress(1.0);

    let (total, routes, send_lag) = users.recorder.sums();
    let took = load.warmup + watched.elapsed;
    let mut outcome = Outcome {
        began: users.counted_from,
        elapsed: watched.elapsed,
        total,
        routes,
        seconds: watched.seconds,
        generator: Generator {
            threads: load.threads,
            cpu_share: pacing_cpu.as_secs_f64() / took.as_secs_f64().max(f64::EPSILON),
            send_lag,
        },
        unsent,
        invalid: Vec::new(),
        interrupted: watched.stopped,
    };
    outcome.invalid = judge(&outcome, users.arrivals.is_some());
    Ok(Measured {
        outcome,
        cpu: watched.cpu,
        pool_wait: None,
        notes: Vec::new(),
    })
}

/// Beyond an operation's own time limit, which is what usually ends it.
const END_PATIENCE: Duration = Duration::from_millis(50);
