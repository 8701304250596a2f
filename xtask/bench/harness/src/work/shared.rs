//! The operation on shared state: each thread has an operation of its own, made from what they share.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::plain::repeat;
use super::{Clock, Lanes, Work};

pub(crate) struct Shared<Make, Op> {
    make: Arc<Make>,
    // The operation of the calling thread, which is thread 0 and the only one where one is asked for.
    op: Op,
    // They live until the end: what an operation keeps for each thread is made once, as in a service.
    others: Vec<Worker>,
}

struct Worker {
    samples: SyncSender<Sample>,
    times: Receiver<Duration>,
    thread: Option<JoinHandle<()>>,
}

/// What a thread is to do next.
#[derive(Clone)]
struct Sample {
    iterations: u64,
    clock: Clock,
    start: Arc<Start>,
}

impl<Make, Op, T> Shared<Make, Op>
where
    Make: Fn(usize) -> Op + Send + Sync + 'static,
    Op: FnMut() -> T + 'static,
    T: 'static,
{
    pub(crate) fn new(make: Make) -> Self {
        Self {
            op: make(0),
            make: Arc::new(make),
            others: Vec::new(),
        }
    }
}

impl<Make, Op, T> Work for Shared<Make, Op>
where
    Make: Fn(usize) -> Op + Send + Sync + 'static,
    Op: FnMut() -> T + 'static,
    T: 'static,
{
    fn lanes(&self) -> Lanes {
        Lanes::Threads
    }

    fn run(&mut self, iterations: u64, lanes: usize, clock: Clock) -> Duration {
        if lanes == 1 {
            return clock.time(|| repeat(&mut self.op, iterations));
        }
        for number in self.others.len() + 1..lanes {
            self.others
                .push(Worker::start(number, Arc::clone(&self.make)));
        }
        let sample = Sample {
            iterations,
            clock,
            start: Arc::new(Start::of(lanes)),
        };
        let others = &mut self.others[..lanes - 1];
        for other in others.iter() {
            // A worker that is gone tells why when its time is asked for.
            let _ = other.samples.send(sample.clone());
        }
        let mut elapsed = sample.run(&mut self.op);
        for other in others {
            elapsed += other.time();
        }
        elapsed / u32::try_from(lanes).unwrap_or(u32::MAX)
    }
}

impl Sample {
    fn run<T>(&self, op: &mut impl FnMut() -> T) -> Duration {
        self.start.wait();
        self.clock.time(|| repeat(op, self.iterations))
    }
}

impl Worker {
    fn start<Make, Op, T>(number: usize, make: Arc<Make>) -> Self
    where
        Make: Fn(usize) -> Op + Send + Sync + 'static,
        Op: FnMut() -> T,
    {
        let (samples, to_run) = mpsc::sync_channel::<Sample>(1);
        let (done, times) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            let mut op = make(number);
            // Only who has its operation may be waited for at the start of a sample.
            let mut time = Duration::ZERO;
            while done.send(time).is_ok() {
                let Ok(sample) = to_run.recv() else { break };
                time = sample.run(&mut op);
            }
        });
        let mut worker = Self {
            samples,
            times,
            thread: Some(thread),
        };
        worker.time();
        worker
    }

    /// The time of the sample under way. A panic of the worker goes on here.
    fn time(&mut self) -> Duration {
        if let Ok(time) = self.times.recv() {
            return time;
        }
        // It ends without a time only by a panic, as its sender of samples is alive.
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => panic::resume_unwind(panic),
            _ => Duration::ZERO,
        }
    }
}

/// Where threads wait for each other, so that all begin within a fraction of a microsecond.
struct Start {
    awake: Barrier,
    missing: AtomicUsize,
}

impl Start {
    fn of(threads: usize) -> Self {
        Self {
            awake: Barrier::new(threads),
            missing: AtomicUsize::new(threads),
        }
    }

    fn wait(&self) {
        // The barrier wakes sleepers one after the other, tens of microseconds apart. All are awake after it, so that the
        // spinning is short; it yields for the case of more threads than cores.
        self.awake.wait();
        self.missing.fetch_sub(1, Ordering::AcqRel);
        while self.missing.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
    }
}
