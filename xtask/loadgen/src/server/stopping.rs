//! The end of a server: asked for, timed, and under load.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::process::Process;
use super::{ServerError, Stopped};
use crate::{ErrorClass, Load, Model, Outcome, Prepared, Stop, Target};

pub(super) fn stop(process: &mut Process, timeout: Duration) -> Result<Stopped, ServerError> {
    end(process, timeout).map_err(ServerError::System)
}

pub(super) fn stop_under(
    process: &mut Process,
    address: SocketAddr,
    timeout: Duration,
    mix: &Prepared,
    load: &Load,
) -> Result<Stopped, ServerError> {
    let target = Target::at(address);
    let load = until_stopped(load, timeout);
    let over = Stop::new();
    thread::scope(|scope| {
        let run = scope.spawn(|| crate::run(&target, mix, &load, &over, &|_| ()));
        thread::sleep(LEAD);
        let stopped = end(process, timeout);
        // So that the ends of the last connections are still seen.
        thread::sleep(GRACE);
        over.stop();
        let outcome = run
            .join()
            .map_err(|_| ServerError::System(io::Error::other("the load's thread panicked")))??;
        let mut stopped = stopped.map_err(ServerError::System)?;
        stopped.requests_failed = failed_under_way(&outcome);
        let unanswered = stopped.requests_failed + errors(&outcome, ErrorClass::Connect);
        stopped.requests_answered = outcome.total.ended.saturating_sub(unanswered);
        Ok(stopped)
    })
}

fn end(process: &mut Process, timeout: Duration) -> io::Result<Stopped> {
    let asked = Instant::now();
    process.terminate()?;
    let status = process.wait_until(asked + timeout)?;
    if status.is_none() {
        process.kill()?;
    }
    Ok(Stopped {
        took: asked.elapsed(),
        status,
        requests_failed: 0,
        requests_answered: 0,
    })
}

/// The same load, closed, for longer than the end can take. Without a warm-up, whose requests would not be counted
/// although they may be those under way.
fn until_stopped(load: &Load, timeout: Duration) -> Load {
    let users = match &load.model {
        Model::Closed { users } => *users,
        Model::Open(_) => load.connections,
    };
    Load {
        model: Model::Closed { users },
        duration: LEAD + timeout + GRACE + load.timeout,
        warmup: Duration::ZERO,
        requests: None,
        ..load.clone()
    }
}

/// Sent, and no whole answer came back.
fn failed_under_way(outcome: &Outcome) -> u64 {
    [
        ErrorClass::Closed,
        ErrorClass::Timeout,
        ErrorClass::Protocol,
    ]
    .iter()
    .map(|class| errors(outcome, *class))
    .sum()
}

fn errors(outcome: &Outcome, class: ErrorClass) -> u64 {
    outcome
        .total
        .errors
        .get(&class)
        .copied()
        .unwrap_or_default()
}

/// From the first request to SIGTERM: long enough for every user to be in its stride.
const LEAD: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_millis(200);
