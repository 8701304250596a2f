//! Carries out a load: threads, connections, pacing and recording.

use crate::{Load, LoadError, Outcome, Prepared, Stop, Target};

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The load cannot be carried out.
    #[error("impossible load")]
    Load(#[from] LoadError),
    /// Nothing listens there.
    #[error("{target}: no connection")]
    Unreachable {
        /// Address of the target.
        target: std::net::SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refuses a poller, a timer or a thread.
    #[error("the generator cannot start")]
    System(#[source] std::io::Error),
}

/// Sends `load` to `target`, blocking until it is over. `progress` is called about ten times a second, from a thread
/// that sends nothing, with the share that is over (0 to 1, warm-up included).
///
/// # Errors
/// Only for what keeps a run from beginning; a target that goes away later is counted in the outcome.
pub fn run(
    _target: &Target,
    _mix: &Prepared,
    _load: &Load,
    _stop: &Stop,
    _progress: &(dyn Fn(f64) + Sync),
) -> Result<Outcome, RunError> {
    todo!()
}
