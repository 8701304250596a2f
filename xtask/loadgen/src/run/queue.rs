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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Arrivals;

    /// Arrivals at 0, 10, 20 and so on, in milliseconds after the start at 100 ms; times in milliseconds.
    fn queue(thread: usize, threads: usize) -> Queue {
        let arrivals = Arrivals::Constant { rate: 100.0 };
        let schedule = Schedule::new(&arrivals, Duration::ZERO, Duration::from_millis(40), 1);
        let mut queue = Queue::new(schedule, thread, threads, 2);
        queue.start(100_000_000);
        queue
    }

    fn due(queue: &mut Queue, now: u64) -> Option<(usize, u64, u64)> {
        let due = queue.due(now * 1_000_000)?;
        Some((
            due.connection,
            due.intended / 1_000_000,
            due.possible / 1_000_000,
        ))
    }

    #[test]
    fn the_connection_that_is_free_for_longest_takes_the_next_arrival() {
        let mut queue = queue(0, 1);
        queue.free(7, 0);
        queue.free(3, 0);
        assert_eq!(due(&mut queue, 99), None, "nothing has come");
        assert_eq!(due(&mut queue, 100), Some((7, 100, 100)));
        assert_eq!(due(&mut queue, 100), None);
        assert_eq!(due(&mut queue, 115), Some((3, 110, 110)));
        assert!(!queue.has_free());
    }

    #[test]
    fn an_arrival_that_waits_could_be_sent_since_a_connection_became_free() {
        let mut queue = queue(0, 1);
        assert_eq!(due(&mut queue, 125), None, "none is free");
        queue.free(0, 125_000_000);
        assert_eq!(due(&mut queue, 126), Some((0, 100, 125)));
        queue.free(0, 127_000_000);
        // Another that becomes free later does not excuse the first.
        queue.free(1, 128_000_000);
        assert_eq!(due(&mut queue, 129), Some((0, 110, 127)));
        assert_eq!(due(&mut queue, 129), Some((1, 120, 127)));
        queue.free(1, 129_000_000);
        assert_eq!(
            due(&mut queue, 140),
            Some((1, 130, 130)),
            "its own time came later"
        );
    }

    #[test]
    fn threads_share_the_arrivals_out() {
        for (thread, expected) in [(0, [100, 120]), (1, [110, 130])] {
            let mut queue = queue(thread, 2);
            let arrivals: Vec<_> = std::iter::from_fn(|| queue.give_up(u64::MAX)).collect();
            assert_eq!(arrivals, expected.map(|moment| moment * 1_000_000));
        }
    }

    #[test]
    fn a_lost_connection_takes_no_arrival() {
        let mut queue = queue(0, 1);
        queue.free(0, 0);
        queue.free(1, 0);
        queue.lost(0);
        assert_eq!(due(&mut queue, 100), Some((1, 100, 100)));
        assert_eq!(queue.next_at(), Some(110_000_000));
    }
}
