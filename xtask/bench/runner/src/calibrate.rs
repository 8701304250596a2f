//! `bench calibrate`: the smallest change that this machine can tell.

use crate::cli::Calibrate;
use crate::session::{Exit, Session};

/// Compares this tree with itself and keeps the noise floor.
///
/// # Errors
/// If it cannot be built or run.
pub(crate) fn run(_session: &Session, _asked: &Calibrate) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}

/// The noise floor of this class of machine, as a share, if it was measured.
pub(crate) fn noise_floor(_session: &Session, _machine_class: &str) -> Option<f64> {
    None
}
