//! What has to be sent and by whom: the schedule of a thread in an open model, with its free connections.

use std::collections::VecDeque;
use std::iter::{Peekable, Skip, StepBy};

use crate::schedule::Schedule;

/// Arrivals that wait and connections that are free. The arrivals that wait are not stored: they are those of the
/// schedule whose time has come.
#[derive(Debug)]
pub(super) struct Queue {
    arrivals: Peekable<StepBy<Skip<Schedule>>>,
    /// Of the schedule, on the run's clock.
    start: u64,
    /// First in, first out, so that none stays idle until the server gives it up.
    free: VecDeque<usize>,
    /// Since when there has been a free connection without a break.
    free_since: u64,
}

/// A request to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) connection: usize,
    pub(super) intended: u64,
    /// The earliest moment at which it could have been sent: its time had come and a connection was free.
    pub(super) possible: u64,
}

impl Queue {
    /// Takes each `threads`-th arrival of the schedule, beginning with the `thread`-th.
    pub(super) fn new(
        schedule: Schedule,
        thread: usize,
        threads: usize,
        connections: usize,
    ) -> Self {
        Self {
            arrivals: schedule.skip(thread).step_by(threads).peekable(),
            start: 0,
            free: VecDeque::with_capacity(connections),
            free_since: 0,
        }
    }

    pub(super) fn start(&mut self, now: u64) {
        self.start = now;
    }

    pub(super) fn free(&mut self, connection: usize, now: u64) {
        if self.free.is_empty() {
            self.free_since = now;
        }
        self.free.push_back(connection);
    }

    /// A free connection has ended.
    pub(super) fn lost(&mut self, connection: usize) {
        self.free.retain(|other| *other != connection);
    }

    /// The next arrival whose time has come by `now`, with the connection for it.
    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        let start = self.start;
        if self.free.is_empty() {
            return None;
        }
        let intended = start + self.arrivals.next_if(|offset| start + offset <= now)?;
        let connection = self.free.pop_front()?;
        Some(Due {
            connection,
            intended,
            possible: intended.max(self.free_since),
        })
    }

    /// The next arrival whose time has come by `now`, whether there is a connection or not.
    pub(super) fn give_up(&mut self, now: u64) -> Option<u64> {
        let start = self.start;
        self.arrivals
            .next_if(|offset| start + offset <= now)
            .map(|offset| start + offset)
    }

    /// When the next arrival comes, or has come.
    pub(super) fn next_at(&mut self) -> Option<u64> {
        self.arrivals.peek().map(|offset| self.start + offset)
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }
}
