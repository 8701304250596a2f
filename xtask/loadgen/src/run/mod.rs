//! Carries out a load: threads, connections, pacing and recording.

mod connection;
pub(crate) mod judge;
pub(crate) mod machine;
mod merge;
mod pace;
mod queue;
mod tally;
pub(crate) mod timeline;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use self::machine::{Clock, allow_files};
use self::merge::merge;
use self::queue::Queue;
use self::tally::{RowLink, Tally};
use self::timeline::{Row, Timeline};
use self::worker::{Finished, Task, Worker};
use crate::schedule::{Schedule, nanoseconds};
use crate::{Load, LoadError, Model, Outcome, Prepared, Stop, Target, affinity};

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The load cannot be carried out.
    #[error("impossible load")]
    Load(#[from] LoadError),
    /// Nothing listens there.
    #[error("{target}: no connection")]
    Unreachable {
        /// Address of the target.
        target: SocketAddr,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The operating system refuses a poller, a timer, a thread or as many open files.
    #[error("the generator cannot start")]
    System(#[source] io::Error),
}

/// Sends `load` to `target`, blocking until it is over. `progress` is called about ten times a second, from a thread
/// that sends nothing, with the share that is over (0 to 1, warm-up included).
///
/// # Errors
/// Only for what keeps a run from beginning; a target that goes away later is counted in the outcome.
pub fn run(
    target: &Target,
    mix: &Prepared,
    load: &Load,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Outcome, RunError> {
    load.validate()?;
    allow_files(match load.model {
        Model::Closed { users } => users,
        Model::Open(_) => load.connections,
    })
    .map_err(RunError::System)?;
    let run = Run {
        target,
        mix,
        load,
        stop,
        clock: Clock::start(),
    };
    thread::scope(|scope| {
        let (rows, full_rows) = sync_channel(ROWS_MAX * load.threads);
        let (opened, openings) = sync_channel(load.threads);
        let mut threads = Vec::with_capacity(load.threads);
        for thread in 0..load.threads {
            let (start, started) = sync_channel(1);
            let (empty_rows, empty) = sync_channel(ROWS_MAX);
            let link = RowLink {
                thread,
                full: rows.clone(),
                empty,
            };
            let opened = opened.clone();
            let handle = thread::Builder::new()
                .name(format!("load-{thread}"))
                .spawn_scoped(scope, move || run.generate(link, opened, &started))
                .map_err(RunError::System)?;
            threads.push(Thread {
                handle,
                start,
                empty_rows,
            });
        }
        drop((rows, opened));
        run.wait_until_open(&openings)?;
        let start = run.clock.now();
        for thread in &threads {
            // A thread that does not listen has panicked; joining it says so.
            let _ = thread.start.send(start);
        }
        let timeline = run.collect(start, &full_rows, &threads, progress);
        let mut finished = Vec::with_capacity(threads.len());
        for thread in threads {
            let result = thread
                .handle
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
            finished.extend(result.map_err(RunError::System)?);
        }
        let began = run.clock.at(start) + load.warmup;
        let open = matches!(load.model, Model::Open(_));
        Ok(merge(&mix.routes(), &finished, timeline, began, open))
    })
}

/// Rows of one thread that may wait for the thread that started it: so many seconds may pass within one call of its
/// `progress` before rows are lost.
const ROWS_MAX: usize = 16;

/// How often `progress` is called.
const PROGRESS: Duration = Duration::from_millis(100);

/// What all threads of a run share.
#[derive(Clone, Copy)]
struct Run<'a> {
    target: &'a Target,
    mix: &'a Prepared,
    load: &'a Load,
    stop: &'a Stop,
    clock: Clock,
}

/// A generator thread, seen from the one that started it.
struct Thread<'scope> {
    handle: ScopedJoinHandle<'scope, io::Result<Option<Finished>>>,
    start: SyncSender<u64>,
    empty_rows: SyncSender<Box<Row>>,
}

/// How many connections a thread has opened, and why not more.
type Opened = io::Result<(usize, Option<io::Error>)>;

impl<'a> Run<'a> {
    /// The life of a generator thread. `None` if the clock never started.
    fn generate(
        self,
        link: RowLink,
        opened: SyncSender<Opened>,
        started: &Receiver<u64>,
    ) -> io::Result<Option<Finished>> {
        let (worker, said) = match self.open(link) {
            Ok((worker, connections)) => (Some(worker), Ok(connections)),
            Err(error) => (None, Err(error)),
        };
        // Nobody listens if another thread has failed; then nobody starts the clock either.
        let _ = opened.send(said);
        // Or whoever listens would wait for a thread that has panicked.
        drop(opened);
        match (worker, started.recv()) {
            (Some(worker), Ok(start)) => worker.run(start).map(Some),
            _ => Ok(None),
        }
    }

    fn open(self, link: RowLink) -> io::Result<(Worker<'a>, (usize, Option<io::Error>))> {
        let load = self.load;
        let thread = link.thread;
        if let Some(cpu) = load.cpus.get(thread) {
            let on_core =
                |error| io::Error::other(format!("cannot keep a thread on core {cpu}: {error}"));
            affinity::pin(&[*cpu]).map_err(on_core)?;
        }
        let connections = match &load.model {
            Model::Closed { users } => share(*users as u64, thread, load.threads) as usize,
            Model::Open(_) => share(load.connections as u64, thread, load.threads) as usize,
        };
        let queue = match &load.model {
            Model::Closed { .. } => None,
            Model::Open(arrivals) => {
                let schedule = Schedule::new(arrivals, load.warmup, load.duration, load.seed);
                Some(Queue::new(schedule, thread, load.threads, connections))
            }
        };
        let task = Task {
            target: self.target.address,
            connections,
            timeout: nanoseconds(load.timeout),
            warmup: nanoseconds(load.warmup),
            duration: nanoseconds(load.duration),
            requests: load
                .requests
                .map_or(u64::MAX, |all| share(all, thread, load.threads)),
            queue,
        };
        let tally = Tally::new(self.mix.routes().len(), task.queue.is_some(), link);
        // Far apart, so that threads of neighbouring seeds do not send the same.
        let seed = load.seed ^ (thread as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut worker = Worker::new(task, self.mix, seed, self.stop, self.clock, tally)?;
        let opened = worker.open_all()?;
        Ok((worker, opened))
    }

    fn wait_until_open(self, openings: &Receiver<Opened>) -> Result<(), RunError> {
        let mut connections = 0;
        let mut refused = None;
        // A thread that panics says nothing; joining it says so.
        for opened in openings.iter().take(self.load.threads) {
            let (count, error) = opened.map_err(RunError::System)?;
            connections += count;
            refused = refused.or(error);
        }
        match refused {
            Some(source) if connections == 0 && !self.stop.is_stopped() => {
                Err(RunError::Unreachable {
                    target: self.target.address,
                    source,
                })
            }
            _ => Ok(()),
        }
    }

    /// Merges rows and tells progress until all threads are through.
    fn collect(
        self,
        start: u64,
        rows: &Receiver<(usize, Box<Row>)>,
        threads: &[Thread<'_>],
        progress: &(dyn Fn(f64) + Sync),
    ) -> Timeline {
        let mut timeline = Timeline::new(threads.len());
        let whole = nanoseconds(self.load.warmup + self.load.duration) as f64;
        let mut told = start;
        loop {
            match rows.recv_timeout(PROGRESS) {
                Ok((thread, row)) => {
                    if let Some(empty) = timeline.add(thread, row) {
                        // A thread that has enough of them allocates no more.
                        let _ = threads[thread].empty_rows.try_send(empty);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.now();
            if now - told >= nanoseconds(PROGRESS) {
                told = now;
                let by_time = (now - start) as f64 / whole;
                let by_count = self
                    .load
                    .requests
                    .map_or(0.0, |all| timeline.ended() as f64 / all as f64);
                progress(by_time.max(by_count).min(1.0));
            }
        }
        timeline
    }
}

/// The part of one thread when `all` are shared out evenly.
fn share(all: u64, thread: usize, threads: usize) -> u64 {
    let (thread, threads) = (thread as u64, threads as u64);
    all / threads + u64::from(thread < all % threads)
}
