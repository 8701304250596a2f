//! The operation on shared state: each thread has an operation of its own, made from what they share.

use std::hint;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::plain::repeat;
use super::{Clock, Lanes, Took, Work};
use crate::cores::{Cores, keep_to};

pub(crate) struct Shared<Make, Op> {
    make: Arc<Make>,
    // The operation of the calling thread, which is thread 0 and the only one where one is asked for.
    op: Op,
    // They live until the end: what an operation keeps for each thread is made once, as in a service.
    others: Vec<Worker>,
    /// One for each thread.
    cores: Vec<usize>,
}

struct Worker {
    samples: SyncSender<Sample>,
    spans: Receiver<Span>,
    thread: Option<JoinHandle<()>>,
}

/// What a thread is to do next.
#[derive(Clone)]
struct Sample {
    iterations: u64,
    start: Arc<Start>,
}

/// When a thread began and ended.
#[derive(Clone, Copy)]
struct Span {
    start: Instant,
    end: Instant,
}

impl<Make, Op, T> Shared<Make, Op>
where
    Make: Fn(usize) -> Op + Send + Sync + 'static,
    Op: FnMut() -> T + 'static,
    T: 'static,
{
    pub(crate) fn new(set_up: impl FnOnce() -> Make, cores: &Cores) -> Self {
        let make = cores.with_all(set_up);
        Self {
            op: make(0),
            make: Arc::new(make),
            others: Vec::new(),
            cores: cores.numbers().to_vec(),
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

    fn run(&mut self, iterations: u64, lanes: usize, clock: Clock) -> Took {
        if lanes == 1 {
            return clock.time(|| repeat(&mut self.op, iterations)).into();
        }
        for number in self.others.len() + 1..lanes {
            let make = Arc::clone(&self.make);
            self.others
                .push(Worker::start(number, self.cores[number], make));
        }
        let sample = Sample {
            iterations,
            start: Arc::new(Start::of(lanes)),
        };
        let others = &mut self.others[..lanes - 1];
        for other in others.iter() {
            // A worker that is gone tells why when its time is asked for.
            let _ = other.samples.send(sample.clone());
        }
        let mut spans = vec![sample.run(&mut self.op)];
        spans.extend(others.iter_mut().map(Worker::span));
        Span::took(&spans)
    }
}

impl Sample {
    fn run<T>(&self, op: &mut impl FnMut() -> T) -> Span {
        self.start.wait();
        let start = Instant::now();
        repeat(op, self.iterations);
        let end = Instant::now();
        Span { start, end }
    }
}

impl Span {
    fn time(self) -> Duration {
        self.end - self.start
    }

    /// The mean of their times. They were together if all were under way for nine tenths of the time of the shortest: a
    /// thread that a lock lets wait until the other is done is contention, one that begins late is none.
    fn took(spans: &[Self]) -> Took {
        let start = spans.iter().map(|span| span.start).max();
        let end = spans.iter().map(|span| span.end).min();
        let (Some(start), Some(end)) = (start, end) else {
            return Duration::ZERO.into();
        };
        let shortest = spans.iter().map(|span| span.time()).min();
        let total: Duration = spans.iter().map(|span| span.time()).sum();
        Took {
            time: total / u32::try_from(spans.len()).unwrap_or(u32::MAX),
            together: end.saturating_duration_since(start) * 10 >= shortest.unwrap_or_default() * 9,
        }
    }
}

impl Worker {
    fn start<Make, Op, T>(number: usize, core: usize, make: Arc<Make>) -> Self
    where
        Make: Fn(usize) -> Op + Send + Sync + 'static,
        Op: FnMut() -> T,
    {
        let (samples, to_run) = mpsc::sync_channel::<Sample>(1);
        let (done, spans) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            assert!(keep_to(core), "core {core} is not to be had");
            let mut op = make(number);
            // Only who has its operation may be waited for at the start of a sample.
            let now = Instant::now();
            let mut span = Span {
                start: now,
                end: now,
            };
            while done.send(span).is_ok() {
                let Ok(sample) = to_run.recv() else { break };
                span = sample.run(&mut op);
            }
        });
        let mut worker = Self {
            samples,
            spans,
            thread: Some(thread),
        };
        worker.span();
        worker
    }

    /// The span of the sample under way. A panic of the worker goes on here.
    fn span(&mut self) -> Span {
        if let Ok(span) = self.spans.recv() {
            return span;
        }
        // It ends without one only by a panic, as its sender of samples is alive.
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => panic::resume_unwind(panic),
            _ => {
                unreachable!("a worker ends only when nobody wants samples any more, or by a panic")
            }
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
        // spinning is short. Who yielded instead would give its core to another program for a time slice.
        self.awake.wait();
        self.missing.fetch_sub(1, Ordering::AcqRel);
        while self.missing.load(Ordering::Acquire) > 0 {
            hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads that began and ended at these times, in ms.
    fn took(spans: &[(u64, u64)]) -> Took {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let span = |&(start, end)| Span {
            start: at(start),
            end: at(end),
        };
        Span::took(&spans.iter().map(span).collect::<Vec<_>>())
    }

    #[test]
    fn the_time_is_what_a_thread_sees_on_the_average() {
        assert_eq!(took(&[(0, 10), (0, 20)]).time, Duration::from_millis(15));
    }

    #[test]
    fn threads_that_missed_each_other_are_told_from_those_of_which_one_waited() {
        assert!(took(&[(0, 100), (5, 103)]).together);
        assert!(
            took(&[(0, 100), (0, 200)]).together,
            "one waited for the other"
        );
        assert!(!took(&[(0, 100), (20, 120)]).together);
        assert!(!took(&[(0, 100), (150, 250)]).together);
    }
}
