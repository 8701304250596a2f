//! Starts the server to be measured on a free port, watches what it uses, and stops it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::{Load, Prepared, Stop};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; `{port}` becomes the chosen port.
    pub args: Vec<String>,
    /// Set in its environment, on top of ours; `{port}` becomes the chosen port.
    pub env: Vec<(String, String)>,
    /// The folder in which it runs; ours by default.
    pub folder: Option<PathBuf>,
    /// Where its standard output and error go.
    pub log: PathBuf,
    /// The path that answers 200 once it is ready.
    pub ready_path: String,
    /// Longest wait for that.
    pub ready_timeout: Duration,
    /// Longest wait for its end after SIGTERM; then it is killed.
    pub stop_timeout: Duration,
    /// CPU cores it may use; empty for all of them.
    pub cpus: Vec<usize>,
}

/// A server that could not be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {}

/// A running server; dropping it kills it with all that it started.
#[derive(Debug)]
pub struct Server {}

/// What a server uses at one moment; taken ten times a second from its start.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Since the server was started.
    pub at: Duration,
    /// CPU time since its start, user and system.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Proportional share of memory, in bytes; once a second, where the system tells.
    pub pss_bytes: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub fds: u64,
    /// Context switches that it asked for by waiting, since its start, over all threads.
    pub waits: u64,
}

/// Sums over a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time since the server's start, user and system; 10 ms is the system's resolution or finer.
    pub cpu: Duration,
    /// Highest resident memory since the last call, in bytes.
    pub rss_peak_bytes: u64,
    /// Resident memory now, in bytes.
    pub rss_bytes: u64,
}

/// How a server ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// From SIGTERM to its end.
    pub took: Duration,
    /// How it exited; `None` if it had to be killed.
    pub status: Option<ExitStatus>,
    /// Requests that were under way or sent on a kept-alive connection and got no answer ([`Server::stop_under`]).
    pub requests_failed: u64,
    /// Requests that were answered meanwhile.
    pub requests_answered: u64,
}

impl Server {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started, ends before, or is not ready in time; the error carries the end of its log.
    pub fn start(_config: &ServerConfig, _stop: &Stop) -> Result<Self, ServerError> {
        todo!()
    }
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }
    /// From starting the program to the first 200 of its `ready_path`.
    pub fn ready_after(&self) -> Duration {
        todo!()
    }
    /// The number of its process.
    pub fn pid(&self) -> u32 {
        todo!()
    }
    /// How it ended, if it did by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        todo!()
    }
    /// What it used until now.
    ///
    /// # Errors
    /// If it is gone.
    pub fn usage(&self) -> Result<Usage, ServerError> {
        todo!()
    }
    /// Every sample until now, oldest first. At most an hour is kept.
    pub fn samples(&self) -> Vec<Sample> {
        todo!()
    }
    /// Asks it to end and waits.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn stop(self) -> Result<Stopped, ServerError> {
        todo!()
    }
    /// Asks it to end while `load` is sent, and counts what is lost.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub fn stop_under(self, _mix: &Prepared, _load: &Load) -> Result<Stopped, ServerError> {
        todo!()
    }
}
