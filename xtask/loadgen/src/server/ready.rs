//! Waiting for a server's first 200 while its end, the caller's and the clock's are watched.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::error::LogTail;
use super::process::Process;
use super::{ServerConfig, ServerError};
use crate::{Stop, http};

/// How long after `started` the server was ready.
pub(super) fn wait(
    process: &mut Process,
    address: SocketAddr,
    config: &ServerConfig,
    started: Instant,
    stop: &Stop,
) -> Result<Duration, ServerError> {
    let (host, path) = (address.to_string(), &config.ready_path);
    loop {
        let left = config.ready_timeout.saturating_sub(started.elapsed());
        let patience = left.clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE);
        let answer = http::get(address, &host, path, &[], patience);
        let after = started.elapsed();
        // First of all: a 200 may be another program's that took the port, and ours has just ended for that.
        if let Some(status) = process.exited().map_err(ServerError::System)? {
            let (program, log) = (config.program.clone(), LogTail::read(&config.log));
            return Err(ServerError::Exited {
                program,
                status,
                log,
            });
        }
        let last = match answer {
            Ok(answer) if answer.status == 200 => return Ok(after),
            Ok(answer) => format!("{path} answered {} last", answer.status),
            Err(error) => format!("{path} gave no answer: {error}"),
        };
        if stop.is_stopped() {
            let program = config.program.clone();
            return Err(ServerError::Interrupted { program });
        }
        if after >= config.ready_timeout {
            return Err(ServerError::NotReady {
                program: config.program.clone(),
                after: config.ready_timeout,
                last,
                log: LogTail::read(&config.log),
            });
        }
        thread::sleep((after / 50).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}

/// How long one answer may take; a server that accepts and says nothing delays seeing its end, or the caller's, so long.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
const SHORTEST_PATIENCE: Duration = Duration::from_millis(100);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
