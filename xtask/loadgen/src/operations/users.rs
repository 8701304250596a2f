//! The users of a run, each of them a task, and the watch over them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::ClockId;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, coop};
use tokio::time::timeout;

use super::Operations;
use super::arrivals::Arrivals;
use super::recorder::{Ended, Recorder};
use crate::mix::sampler::Sampler;
use crate::run::judge::grace;
use crate::run::machine::cpu_time;
use crate::schedule::nanoseconds;
use crate::{ErrorClass, Load, Model, Stop, TimelineRow};

/// What the users of one run share.
pub(super) struct Users<O> {
    operations: Arc<O>,
    /// Operations with a weight, and the choice among them.
    chosen: Vec<usize>,
    sampler: Sampler,
    /// `None` in a closed model.
    pub(super) arrivals: Option<Arrivals>,
    pub(super) recorder: Recorder,
    load: Load,
    pub(super) began: Instant,
    pub(super) counted_from: Instant,
    ends: Instant,
    /// Operations that have been begun and that have ended, of those that count.
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last of a limited number had ended.
    exhausted: OnceLock<Instant>,
    over: AtomicBool,
}

/// What the watch saw.
pub(super) struct Watched {
    pub(super) elapsed: Duration,
    pub(super) seconds: Vec<TimelineRow>,
    pub(super) cpu: Duration,
    pub(super) stopped: bool,
}

impl<O: Operations> Users<O> {
    pub(super) fn new(operations: Arc<O>, load: &Load) -> Self {
        let weights = operations.weights();
        let chosen: Vec<_> = (0..weights.len()).filter(|&at| weights[at] > 0).collect();
        let shares: Vec<_> = chosen.iter().map(|&at| f64::from(weights[at])).collect();
        let names: Vec<_> = chosen.iter().map(|&at| O::NAMES[at]).collect();
        let arrivals = match &load.model {
            Model::Closed { .. } => None,
            Model::Open(arrivals) => Some(Arrivals::new(arrivals, load)),
        };
        let began = Instant::now();
        Self {
            operations,
            chosen,
            sampler: Sampler::new(&shares),
            arrivals,
            recorder: Recorder::new(load.threads, &names),
            load: load.clone(),
            began,
            counted_from: began + load.warmup,
            ends: began + load.warmup + load.duration,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            exhausted: OnceLock::new(),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn start(self: &Arc<Self>, runtime: &Runtime) -> Vec<JoinHandle<()>> {
        let count = match self.load.model {
            Model::Closed { users } => users,
            Model::Open(_) => self.load.connections,
        };
        (0..count)
            .map(|user| runtime.spawn(Arc::clone(self).be(user)))
            .collect()
    }

    async fn be(self: Arc<Self>, user: usize) {
        let mut random = fastrand::Rng::with_seed(self.load.seed ^ ((user as u64) << 32));
        // Hits in memory never wait: without a budget one user would keep its thread from all the others.
        while !self.is_over() {
            coop::consume_budget().await;
            let free = Instant::now();
            let intended = match &self.arrivals {
                None if free >= self.ends => return,
                None => free,
                Some(arrivals) => match arrivals.next().await {
                    Some(due) => self.began + due,
                    None => return,
                },
            };
            let route = self.sampler.sample(&mut random);
            let operation = self.operations.carry_out(self.chosen[route], &mut random);
            let sent = Instant::now();
            let counts = intended >= self.counted_from;
            if counts && !self.may_begin() {
                return;
            }
            let result = timeout(self.load.timeout, operation)
                .await
                .unwrap_or(Err(ErrorClass::Timeout));
            let end = Instant::now();
            if counts {
                let lag = sent - intended.max(free);
                let ended = Ended {
                    route,
                    response: end - intended,
                    service: end - sent,
                    lag: self.arrivals.is_some().then_some(lag),
                    result,
                };
                self.recorder.record(user, ended);
                self.count_end(end);
            }
        }
    }

    /// Watches until the end, the last operation or `stop`, tells `progress`, and closes each second.
    pub(super) fn watch(&self, stop: &Stop, progress: &(dyn Fn(f64) + Sync)) -> Watched {
        let whole = (self.ends - self.began).as_secs_f64();
        let mut seconds = Vec::new();
        let mut cpu_before = None;
        let mut tick = 0;
        let ended = loop {
            let now = Instant::now();
            if now >= self.counted_from && cpu_before.is_none() {
                cpu_before = Some(process_cpu_time());
            }
            if now >= self.ends {
                self.wait_until_taken(stop);
            }
            if now >= self.ends || stop.is_stopped() || self.is_over() {
                break self.exhausted.get().copied().unwrap_or(now).min(self.ends);
            }
            progress((now - self.began).as_secs_f64() / whole);
            let mut due = (now + TICK).min(self.counted_from);
            if now >= self.counted_from {
                tick += 1;
                due = (self.counted_from + TICK * tick).min(self.ends);
            }
            thread::sleep(due.saturating_duration_since(now));
            // The last second is closed when the last operation has ended.
            if due < self.ends && tick > 0 && tick % TICKS_PER_SECOND == 0 {
                seconds.push(self.recorder.close_second(seconds.len()));
            }
        };
        self.give_up();
        let cpu_before = cpu_before.unwrap_or_else(process_cpu_time);
        Watched {
            elapsed: ended.saturating_duration_since(self.counted_from),
            seconds,
            cpu: process_cpu_time().saturating_sub(cpu_before),
            stopped: stop.is_stopped() && ended < self.ends,
        }
    }

    pub(super) fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Lets users take what is due at the end: a queue that empties is chance.
    fn wait_until_taken(&self, stop: &Stop) {
        let patience = Duration::from_nanos(grace(nanoseconds(self.load.duration)));
        if let Some(arrivals) = &self.arrivals {
            while self.may_begin_more()
                && !arrivals.are_taken()
                && !stop.is_stopped()
                && self.ends.elapsed() < patience
            {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Takes one of the operations that may still be begun.
    fn may_begin(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed) < self.load.requests.unwrap_or(u64::MAX)
    }

    fn may_begin_more(&self) -> bool {
        self.begun.load(Ordering::Relaxed) < self.load.requests.unwrap_or(u64::MAX)
    }

    fn count_end(&self, end: Instant) {
        let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        if Some(ended) == self.load.requests {
            self.exhausted.get_or_init(|| end);
            self.give_up();
        }
    }

    /// What was due and never begun, once all is over.
    pub(super) fn unsent(&self) -> u64 {
        let until = self.ends.min(Instant::now()) - self.began;
        let close = |arrivals: &Arrivals| arrivals.close(self.load.warmup, until);
        let unsent = self.arrivals.as_ref().map_or(0, close);
        if self.may_begin_more() { unsent } else { 0 }
    }
}

/// Waits for the users, at most `patience`, and ends the others where they are.
pub(super) async fn end(users: Vec<JoinHandle<()>>, patience: Duration) {
    let deadline = tokio::time::Instant::now() + patience;
    for mut user in users {
        if tokio::time::timeout_at(deadline, &mut user).await.is_err() {
            user.abort();
        }
    }
}

fn process_cpu_time() -> Duration {
    cpu_time(ClockId::ProcessCPUTime)
}

const TICKS_PER_SECOND: u32 = 10;
const TICK: Duration = Duration::from_millis(100);
