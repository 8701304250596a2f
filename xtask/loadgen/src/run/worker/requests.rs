//! The requests of a thread: whose turn it is, and how each ends.

use super::super::connection::{Phase, Received, Request};
use super::Worker;
use crate::{Check, ErrorClass};

impl Worker<'_> {
    /// A connection can take a request.
    pub(super) fn ready(&mut self, index: usize, now: u64) {
        match &mut self.task.queue {
            Some(queue) => {
                queue.free(index, now);
                self.serve(now);
            }
            None => self.send_next(index),
        }
    }

    /// The next request of a user, unless it is over.
    pub(super) fn send_next(&mut self, index: usize) {
        let now = self.clock.now();
        let may = self.running && now < self.end && self.task.requests > 0;
        if may && self.connections[index].phase == Phase::Idle {
            self.send(index, now, now);
        }
    }

    /// Sends what is due on connections that are free.
    pub(super) fn serve(&mut self, now: u64) {
        if !self.running || now >= self.end + self.grace() {
            return;
        }
        while self.task.requests > 0
            && let Some(due) = self.task.queue.as_mut().and_then(|queue| queue.due(now))
        {
            let sent = self.clock.now();
            if due.intended >= self.begin {
                self.tally.sent(sent.saturating_sub(due.possible));
            }
            self.send(due.connection, due.intended, sent);
        }
    }

    fn send(&mut self, index: usize, intended: u64, sent: u64) {
        let connection = &mut self.connections[index];
        let route = self.picker.next(connection.next_request());
        if intended >= self.begin {
            self.task.requests -= 1;
        }
        let due = sent.saturating_add(self.task.timeout);
        let request = Request {
            route,
            intended,
            sent,
            ..Request::default()
        };
        let (is_head, reads_body) = (self.mix.is_head(route), self.mix.reads_body(route));
        self.busy += 1;
        self.sweep_at = self.sweep_at.min(due);
        let received = connection.send(request, due, is_head, reads_body);
        self.received(index, received, false);
    }

    /// What an event meant for the request under way; `ended` if the connection ended with it.
    pub(super) fn received(&mut self, index: usize, received: Received, ended: bool) {
        match received {
            Received::Part => {}
            Received::Whole(end) => self.answered(index, end, ended),
            Received::Failed(class) => self.failed(index, class),
        }
    }

    fn answered(&mut self, index: usize, end: u64, ended: bool) {
        self.busy -= 1;
        self.last_end = end;
        let connection = &mut self.connections[index];
        let request = &connection.request;
        if request.intended >= self.begin {
            let (status, body) = connection.answer();
            let class = match self.mix.check(request.route, status, body) {
                Check::Fine => None,
                Check::Status => Some(ErrorClass::Status),
                Check::Body => Some(ErrorClass::Body),
            };
            self.tally.answered(request, end, status, class);
        }
        if connection.finish() && !ended {
            self.ready(index, end);
        } else {
            self.established -= 1;
            self.open(index);
        }
    }

    /// The request under way gets no answer any more.
    pub(super) fn failed(&mut self, index: usize, class: ErrorClass) {
        let now = self.clock.now();
        self.busy -= 1;
        self.last_end = now;
        let request = &self.connections[index].request;
        if request.intended >= self.begin {
            self.tally.failed(request, now, class);
        }
        self.established -= 1;
        self.down(index, now);
    }

    /// A connection that was begun at `began` has been refused: so are the requests that need it.
    pub(super) fn unreachable(&mut self, began: u64, now: u64) {
        match &self.task.queue {
            None if now < self.end => self.count_unreachable(began, began, now),
            // While others are established, requests wait for those.
            Some(_) if self.established == 0 => {
                while self.task.requests > 0
                    && let Some(intended) = self
                        .task
                        .queue
                        .as_mut()
                        .and_then(|queue| queue.give_up(now))
                {
                    self.count_unreachable(intended, began.max(intended), now);
                }
            }
            _ => {}
        }
    }

    /// Counts one request that could not even be sent.
    fn count_unreachable(&mut self, intended: u64, sent: u64, now: u64) {
        self.scratch.clear();
        let route = self.picker.next(&mut self.scratch);
        if intended >= self.begin && self.task.requests > 0 {
            let request = Request {
                route,
                intended,
                sent,
                ..Request::default()
            };
            self.task.requests -= 1;
            self.last_end = now;
            self.tally.failed(&request, now, ErrorClass::Connect);
        }
    }
}
