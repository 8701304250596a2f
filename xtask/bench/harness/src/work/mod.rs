//! Operations behind one trait: a measurement asks for so many iterations and learns how long they took.

mod batched;
mod concurrent;
mod plain;
mod shared;

use std::time::{Duration, Instant};

pub(crate) use batched::Batched;
pub(crate) use concurrent::Concurrent;
pub(crate) use plain::Plain;
pub(crate) use shared::Shared;

/// An operation that is set up.
pub(crate) trait Work {
    /// How it is run more than once at a time.
    fn lanes(&self) -> Lanes;

    /// Runs `iterations` on `lanes` lanes and tells how long they took.
    fn run(&mut self, iterations: u64, lanes: usize, clock: Clock) -> Took;
}

/// How long a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// As [`Lanes`] defines it.
    pub(crate) time: Duration,
    /// Whether the lanes were under way at the same time. If not, the time is not that of so many.
    pub(crate) together: bool,
}

impl From<Duration> for Took {
    /// Of lanes that cannot miss each other.
    fn from(time: Duration) -> Self {
        Self {
            time,
            together: true,
        }
    }
}

/// What runs an operation more than once at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// Nothing: one operation after the other, whatever is asked for.
    One,
    /// Threads, each of which does all iterations. The time is the mean over the threads: what an operation takes as a
    /// thread sees it.
    Threads,
    /// Futures on one thread, which share the iterations. The time is the time until all are done: what an operation
    /// costs.
    Futures,
}

/// Whether time is taken. Where instructions are counted it is not: reading a clock costs instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Running,
    Stopped,
}

impl Clock {
    fn time(self, operations: impl FnOnce()) -> Duration {
        match self {
            Self::Running => {
                let start = Instant::now();
                operations();
                start.elapsed()
            }
            Self::Stopped => {
                operations();
                Duration::ZERO
            }
        }
    }
}
