//! The connections of a thread: opened, refused, lost, over their time.

use std::io;

use mio::Token;

use super::super::connection::Phase;
use super::Worker;
use crate::ErrorClass;

/// Least time between two looks at all connections.
const SWEEP_MIN: u64 = 1_000_000;

impl Worker<'_> {
    /// Begins to connect, in place of what the connection was before.
    pub(super) fn open(&mut self, index: usize) {
        let due = self.clock.now().saturating_add(self.task.timeout);
        self.opening += 1;
        self.sweep_at = self.sweep_at.min(due);
        let (registry, target) = (self.poll.registry(), self.task.target);
        let begun = self.connections[index].connect(registry, Token(index), target, due);
        if let Err(error) = begun {
            self.refused(index, error);
        }
    }

    pub(super) fn opened(&mut self, index: usize) {
        self.opening -= 1;
        self.established += 1;
        self.ready(index, self.clock.now());
    }

    pub(super) fn refused(&mut self, index: usize, error: io::Error) {
        let now = self.clock.now();
        let began = self.connections[index]
            .due
            .saturating_sub(self.task.timeout);
        self.opening -= 1;
        self.refused = Some(error);
        self.down(index, now);
        if self.running {
            self.unreachable(began, now);
        }
    }

    /// An idle connection has ended: no request is lost.
    pub(super) fn lost(&mut self, index: usize) {
        if let Some(queue) = &mut self.task.queue {
            queue.lost(index);
        }
        self.established -= 1;
        self.down(index, self.clock.now());
    }

    /// Opens the connection again, at once or after a pause.
    pub(super) fn down(&mut self, index: usize, now: u64) {
        let connection = &mut self.connections[index];
        connection.fail(now);
        self.sweep_at = self.sweep_at.min(connection.due);
    }

    /// Handles every connection that is over its time.
    pub(super) fn sweep(&mut self, now: u64) {
        self.sweep_at = u64::MAX;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            if connection.due <= now {
                match connection.phase {
                    Phase::Busy => self.failed(index, ErrorClass::Timeout),
                    Phase::Connecting => self.refused(index, io::ErrorKind::TimedOut.into()),
                    Phase::Down if self.running => self.open(index),
                    Phase::Down | Phase::Idle => {}
                }
            }
            let connection = &self.connections[index];
            if connection.phase != Phase::Idle {
                self.sweep_at = self.sweep_at.min(connection.due);
            }
        }
        // Whatever is sent from now on is not over its time before the latest.
        let soonest = now + SWEEP_MIN;
        let latest = now.saturating_add(self.task.timeout).max(soonest);
        self.sweep_at = self.sweep_at.clamp(soonest, latest);
    }
}
