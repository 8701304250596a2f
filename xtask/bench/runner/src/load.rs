//! `bench load`: load on any running service.

use std::ffi::OsString;

use crate::session::{Exit, Session};

/// Passes `args` to the load generator.
///
/// # Errors
/// If it cannot start.
pub(crate) fn run(_session: &Session, _args: &[OsString]) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
