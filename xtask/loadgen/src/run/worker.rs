//! One generator thread: a poller over its connections, fed by users or by a schedule.

mod connections;
mod requests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::{Events, Poll, Token};

use super::connection::{Connection, Phase, Received};
use super::judge::grace;
use super::machine::{Clock, CpuShare};
use super::pace::Pace;
use super::queue::Queue;
use super::tally::Tally;
use crate::{Picker, Prepared, RouteOutcome, Stop};

/// Longest wait for events: how soon [`Stop`] is seen.
const NAP: u64 = 50_000_000;

/// Connections that are being opened at once before the clock starts: fewer than servers let wait.
const OPENING_MAX: usize = 64;

const TIMER: Token = Token(usize::MAX);

/// What a thread is to do; times in nanoseconds.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) target: SocketAddr,
    pub(super) connections: usize,
    pub(super) timeout: u64,
    pub(super) warmup: u64,
    pub(super) duration: u64,
    /// Most requests that are counted.
    pub(super) requests: u64,
    /// The schedule of an open model.
    pub(super) queue: Option<Queue>,
}

/// What a thread measured.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) routes: Vec<RouteOutcome>,
    pub(super) lag: Histogram<u64>,
    pub(super) elapsed: u64,
    pub(super) cpu_share: f64,
    pub(super) unsent: u64,
    pub(super) interrupted: bool,
}

#[derive(Debug)]
pub(super) struct Worker<'a> {
    task: Task,
    mix: &'a Prepared,
    picker: Picker<'a>,
    stop: &'a Stop,
    clock: Clock,
    tally: Tally,
    poll: Poll,
    pace: Pace,
    connections: Vec<Connection>,
    buffer: Box<[u8]>,
    /// A request that could not be sent, written only to know its route.
    scratch: Vec<u8>,
    opening: usize,
    established: usize,
    busy: usize,
    refused: Option<io::Error>,
    /// No connection is over its time before.
    sweep_at: u64,
    /// The measurement; both are in the far future until the clock starts.
    begin: u64,
    end: u64,
    running: bool,
    measuring: bool,
    last_end: u64,
    cpu: CpuShare,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        task: Task,
        mix: &'a Prepared,
        seed: u64,
        stop: &'a Stop,
        clock: Clock,
        tally: Tally,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let pace = Pace::new(poll.registry(), TIMER)?;
        Ok(Self {
            connections: (0..task.connections)
                .map(|_| Connection::default())
                .collect(),
            task,
            mix,
            picker: mix.picker(seed),
            stop,
            clock,
            tally,
            poll,
            pace,
            buffer: vec![0; 64 * 1024].into(),
            scratch: Vec::new(),
            opening: 0,
            established: 0,
            busy: 0,
            refused: None,
            sweep_at: u64::MAX,
            begin: u64::MAX,
            end: u64::MAX,
            running: false,
            measuring: false,
            last_end: 0,
            cpu: CpuShare::default(),
        })
    }

    /// Opens the connections, each once. Says how many there are and why the others are not; ends at the first refusal
    /// if there is none yet, and after the time limit of an answer: what is missing then is opened during the run.
    pub(super) fn open_all(&mut self) -> io::Result<(usize, Option<io::Error>)> {
        let mut events = Events::with_capacity(1024);
        let mut next = 0;
        let until = self.clock.now().saturating_add(self.task.timeout);
        while !self.stop.is_stopped()
            && (self.established > 0 || self.refused.is_none())
            && (self.established == 0 || self.clock.now() < until)
        {
            while next < self.connections.len() && self.opening < OPENING_MAX {
                self.open(next);
                next += 1;
            }
            if self.opening == 0 && next == self.connections.len() {
                break;
            }
            self.sweep(self.clock.now());
            self.wait(&mut events, None)?;
        }
        Ok((self.established, self.refused.take()))
    }

    /// Sends from `start` on until all is over.
    pub(super) fn run(mut self, start: u64) -> io::Result<Finished> {
        let mut events = Events::with_capacity(1024);
        self.begin = start + self.task.warmup;
        self.end = self.begin + self.task.duration;
        self.running = true;
        self.sweep_at = start;
        if let Some(queue) = &mut self.task.queue {
            queue.start(start);
        } else {
            for index in 0..self.connections.len() {
                self.send_next(index);
            }
        }
        loop {
            let now = self.clock.now();
            self.keep_time(now);
            if now >= self.sweep_at {
                self.sweep(now);
            }
            self.serve(now);
            if self.stop.is_stopped() || self.is_over(now) {
                return Ok(self.finish(now));
            }
            let arrival = self.next_arrival(now);
            self.wait(&mut events, arrival)?;
        }
    }

    /// Waits for events, at most until `arrival`, and handles them.
    fn wait(&mut self, events: &mut Events, arrival: Option<u64>) -> io::Result<()> {
        let now = self.clock.now();
        let mut nap = Duration::from_nanos(NAP.min(self.sweep_at.saturating_sub(now)));
        if let Some(arrival) = arrival {
            nap = self.pace.nap(arrival, now, nap)?;
        }
        match self.poll.poll(events, Some(nap)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in events.iter().filter(|event| event.token() != TIMER) {
            self.on_event(event);
        }
        Ok(())
    }

    // === what follows from an event ===

    fn on_event(&mut self, event: &Event) {
        let index = event.token().0;
        let connection = &mut self.connections[index];
        match connection.phase {
            Phase::Down => {}
            Phase::Connecting => match connection.connected() {
                Ok(true) => self.opened(index),
                Ok(false) => {}
                Err(error) => self.refused(index, error),
            },
            Phase::Idle => {
                if connection.has_ended(&mut self.buffer) {
                    self.lost(index);
                }
            }
            Phase::Busy => {
                let mut received = Received::Part;
                if event.is_writable() {
                    received = connection.flush();
                }
                if event.is_readable() && received == Received::Part {
                    received = connection.receive(
                        &mut self.buffer,
                        self.clock,
                        self.poll.registry(),
                        event.token(),
                        event.is_read_closed(),
                    );
                }
                self.received(index, received, event.is_read_closed());
            }
        }
    }

    /// Marks the beginning and the end of the measurement; the wait for the last answers is behind it.
    fn keep_time(&mut self, now: u64) {
        if !self.measuring && now >= self.begin {
            self.measuring = true;
            self.cpu.begin(now);
            self.tally.begin(self.begin);
        }
        if now >= self.end {
            self.cpu.end(now);
        }
        self.tally.roll(now);
    }

    fn grace(&self) -> u64 {
        match self.task.queue {
            Some(_) => grace(self.task.duration),
            None => 0,
        }
    }

    /// When the poller has to wake for the schedule.
    fn next_arrival(&mut self, now: u64) -> Option<u64> {
        let grace = self.grace();
        let queue = self.task.queue.as_mut()?;
        let may = self.task.requests > 0 && now < self.end + grace && queue.has_free();
        if may { queue.next_at() } else { None }
    }

    fn is_over(&mut self, now: u64) -> bool {
        if self.busy > 0 {
            return false;
        }
        let waits = self
            .task
            .queue
            .as_mut()
            .is_some_and(|queue| queue.next_at().is_some());
        self.task.requests == 0 || now >= self.end + if waits { self.grace() } else { 0 }
    }

    fn finish(mut self, now: u64) -> Finished {
        self.cpu.end(now);
        let interrupted = self.busy > 0 || now < self.end && self.task.requests > 0;
        let until = now.min(self.end);
        let mut unsent = 0;
        if self.task.requests > 0 {
            while let Some(intended) = self
                .task
                .queue
                .as_mut()
                .and_then(|queue| queue.give_up(until))
            {
                unsent += u64::from(intended >= self.begin);
            }
        }
        let last = if self.task.requests == 0 && !interrupted {
            self.last_end
        } else {
            until
        };
        let (routes, lag) = self.tally.finish(&self.mix.routes());
        Finished {
            routes,
            lag,
            elapsed: last.saturating_sub(self.begin).min(self.task.duration),
            cpu_share: self.cpu.share(),
            unsent,
            interrupted,
        }
    }
}
