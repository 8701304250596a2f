//! Starts the server to be measured on a free port, watches what it uses, and stops it.

mod error;
mod launch;
pub(crate) mod process;
mod procfs;
mod ready;
mod sampler;
mod stopping;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use process::Process;
use procfs::Procfs;
use sampler::Sampler;

use crate::{Load, Outcome, Prepared, RunError, Stop, Target};

pub use error::{LogTail, ServerError};
pub use sampler::Sample;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; `{port}` becomes the chosen port.
    pub args: Vec<String>,
    /// Set in its environment; `{port}` becomes the chosen port.
    pub env: Vec<(String, String)>,
    /// Whether it gets all of our environment as well.
    pub inherit_env: bool,
    /// The folder in which it runs; ours by default. A relative `program` is found from ours all the same.
    pub folder: Option<PathBuf>,
    /// Where its standard output and error go; emptied at each start.
    pub log: PathBuf,
    /// The path that answers 200 once it is ready.
    pub ready_path: String,
    /// Longest wait for that.
    pub ready_timeout: Duration,
    /// Longest wait for its end after SIGTERM; then it is killed.
    pub stop_timeout: Duration,
    /// CPU cores it may use; empty for all of them. Elsewhere than on Linux nothing is pinned.
    pub cpus: Vec<usize>,
}

/// A running server; dropping it kills it with all that it started.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    started: Instant,
    ready_after: Duration,
    stop_timeout: Duration,
    // Declared after the process: what is watched is gone before the watching ends.
    sampler: Sampler,
}

/// Sums over a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time since the server's start, user and system, of all its threads, ended ones too. By the kernel's own
    /// clock of the process, in nanoseconds; threads that run in this moment are counted up to it.
    pub cpu: Duration,
    /// Highest resident memory since the last call, in bytes; since the start where the system keeps us from
    /// resetting it.
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
    /// Requests that were answered meanwhile, with whatever status.
    pub requests_answered: u64,
}

impl Server {
    /// Starts it on a free port of 127.0.0.1 and waits until it is ready. If another program takes the port first,
    /// tries two more.
    ///
    /// # Errors
    /// If it cannot be started, ends before, or is not ready in time; the error carries the end of its log.
    pub fn start(config: &ServerConfig, stop: &Stop) -> Result<Self, ServerError> {
        launch::start(config, stop)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When the program was started: the moment from which [`Sample::at`] counts.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// From starting the program to the first 200 of its `ready_path`. It is asked again after a fiftieth of the time
    /// it has run, at least 1 ms and at most 10 ms, so this is at most 2 % or 1 ms too long.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it did by itself; what it had started and left running is killed then.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited().ok().flatten()
    }

    /// Sends `load` to it as [`run`](crate::run) does; the run ends early if the server does, which is not counted as
    /// interrupted. [`exited`](Self::exited) tells.
    ///
    /// # Errors
    /// As [`run`](crate::run).
    pub fn load(
        &mut self,
        mix: &Prepared,
        load: &Load,
        stop: &Stop,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Outcome, RunError> {
        let over = stop.child();
        let process = Mutex::new(&mut self.process);
        let watch = |share| {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            if process.exited().is_ok_and(|status| status.is_some()) {
                over.stop();
            }
            progress(share);
        };
        let mut outcome = crate::run(&Target::at(self.address), mix, load, &over, &watch)?;
        outcome.interrupted &= stop.is_stopped();
        Ok(outcome)
    }

    /// What it used until now.
    ///
    /// # Errors
    /// If it is gone, or the system does not tell.
    pub fn usage(&self) -> Result<Usage, ServerError> {
        Procfs::new(self.pid())
            .usage()
            .ok_or_else(|| ServerError::Unseen { pid: self.pid() })
    }

    /// The samples until now, oldest first; none where the system does not tell.
    pub fn samples(&self) -> Vec<Sample> {
        self.sampler.samples()
    }

    /// Asks it to end and waits; kills it after `stop_timeout`.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn stop(mut self) -> Result<Stopped, ServerError> {
        stopping::stop(&mut self.process, self.stop_timeout)
    }

    /// Asks it to end while `load` is sent, and counts what is lost.
    ///
    /// The load is made a closed one (an open one: of as many users as it has connections) and runs from half a second
    /// before SIGTERM until the process is gone; its duration, warm-up and number of requests do not matter.
    ///
    /// A request counts as failed if it was sent and no whole answer came back: its connection was closed or reset, or
    /// it ran into the load's timeout. A connection that is refused once the server no longer listens is no failure: a
    /// client knows that nothing happened and goes to another replica.
    ///
    /// # Errors
    /// As [`Server::stop`], and if the load cannot be sent.
    pub fn stop_under(mut self, mix: &Prepared, load: &Load) -> Result<Stopped, ServerError> {
        stopping::stop_under(
            &mut self.process,
            self.address,
            self.stop_timeout,
            mix,
            load,
        )
    }
}
