//! One connection with at most one request under way: opening, sending, receiving, and the times of each. What follows
//! from them is decided by the worker.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::machine::Clock;
use crate::ErrorClass;
use crate::http::Decoder;

/// Most reads in a row, so that one endless answer does not keep the thread from all others.
const READS_MAX: usize = 64;

/// Bytes of a body that are kept to look into.
const LOOKED_INTO: usize = 1 << 20;

/// Waits before connecting again grow from 1 ms to this, in nanoseconds.
const BACKOFF_MAX: u64 = 100_000_000;

/// A connection of a generator thread.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// When to give up what is under way, or to connect again; meaningless while idle.
    pub(super) due: u64,
    pub(super) request: Request,
    stream: Option<TcpStream>,
    decoder: Decoder,
    /// The request as it is written, and how much of it has left.
    out: Vec<u8>,
    written: usize,
    /// Failures since the last whole answer.
    failures: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits until it is `due` to connect again.
    #[default]
    Down,
    Connecting,
    Idle,
    Busy,
}

/// A request with its times, in nanoseconds of the run's clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    pub(super) route: usize,
    /// When it should be sent.
    pub(super) intended: u64,
    pub(super) sent: u64,
    pub(super) first_byte: u64,
    /// Bytes of its answer.
    pub(super) received: u64,
}

/// What an event meant for the request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The answer is not whole.
    Part,
    /// It is, since this moment.
    Whole(u64),
    Failed(ErrorClass),
}

impl Connection {
    /// Begins to connect, until `due`; what was open before is closed.
    pub(super) fn connect(
        &mut self,
        registry: &Registry,
        token: Token,
        target: SocketAddr,
        due: u64,
    ) -> io::Result<()> {
        self.stream = None;
        self.phase = Phase::Connecting;
        self.due = due;
        let mut stream = TcpStream::connect(target)?;
        // Edge-triggered, so that being writable all the time wakes nobody.
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Whether connecting has come to its end.
    pub(super) fn connected(&mut self) -> io::Result<bool> {
        let Some(stream) = &self.stream else {
            return Ok(false);
        };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => {
                stream.set_nodelay(true)?;
                self.phase = Phase::Idle;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Empties the buffer for the next request and lends it to be written.
    pub(super) fn next_request(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        &mut self.out
    }

    /// Sends what [`next_request`](Self::next_request) was given.
    pub(super) fn send(
        &mut self,
        request: Request,
        due: u64,
        is_head: bool,
        reads_body: bool,
    ) -> Received {
        self.decoder
            .expect(is_head, if reads_body { LOOKED_INTO } else { 0 });
        self.request = request;
        self.written = 0;
        self.phase = Phase::Busy;
        self.due = due;
        self.flush()
    }

    /// Writes as much as the socket takes.
    pub(super) fn flush(&mut self) -> Received {
        let Some(stream) = &mut self.stream else {
            return Received::Failed(ErrorClass::Closed);
        };
        while self.written < self.out.len() {
            match stream.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Received::Failed(ErrorClass::Closed),
            }
        }
        Received::Part
    }

    /// Reads what is there, through `buffer`. `ended` says that the poller has seen the end of the stream: then it may
    /// stand behind the last bytes without another event.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        clock: Clock,
        registry: &Registry,
        token: Token,
        ended: bool,
    ) -> Received {
        let Some(stream) = &mut self.stream else {
            return Received::Failed(ErrorClass::Closed);
        };
        for _ in 0..READS_MAX {
            match stream.read(buffer) {
                Ok(0) if self.decoder.close() => return Received::Whole(clock.now()),
                Ok(0) => return Received::Failed(ErrorClass::Closed),
                Ok(length) => {
                    let now = clock.now();
                    if self.request.received == 0 {
                        self.request.first_byte = now;
                    }
                    self.request.received += length as u64;
                    match self.decoder.feed(&buffer[..length]) {
                        Ok(true) => return Received::Whole(now),
                        // A short read has emptied the socket: what comes later is a new edge.
                        Ok(false) if length < buffer.len() && !ended => return Received::Part,
                        Ok(false) => {}
                        Err(_) => return Received::Failed(ErrorClass::Protocol),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Received::Failed(ErrorClass::Closed),
            }
        }
        // Asks for another edge, behind the other connections.
        match registry.reregister(stream, token, Interest::READABLE | Interest::WRITABLE) {
            Ok(()) => Received::Part,
            Err(_) => Received::Failed(ErrorClass::Closed),
        }
    }

    /// Whether an idle connection is of no use any more: at its end, or with bytes that nobody asked for.
    pub(super) fn has_ended(&mut self, buffer: &mut [u8]) -> bool {
        let Some(stream) = &mut self.stream else {
            return true;
        };
        let nothing = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
        stream
            .read(buffer)
            .map_or_else(|error| !nothing.contains(&error.kind()), |_| true)
    }

    /// The status and the body, once the answer is whole.
    pub(super) fn answer(&self) -> (u16, &[u8]) {
        (self.decoder.status(), self.decoder.body())
    }

    /// The answer was whole: whether another request may follow on this connection.
    pub(super) fn finish(&mut self) -> bool {
        self.failures = 0;
        self.phase = Phase::Idle;
        self.decoder.keeps_alive() && self.written == self.out.len()
    }

    /// Closes it after a failure, to be opened again after a pause, the longer the more failures came in a row; the
    /// first one costs no pause.
    pub(super) fn fail(&mut self, now: u64) {
        let pause = match self.failures {
            0 => 0,
            more => (1_000_000_u64 << (more - 1).min(16)).min(BACKOFF_MAX),
        };
        self.failures = self.failures.saturating_add(1);
        self.stream = None;
        self.phase = Phase::Down;
        self.due = now + pause;
    }
}
