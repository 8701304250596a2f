//! `bench compare`: this tree beside another, in turns.

use crate::cli::Compare;
use crate::session::{Exit, Session};

/// Compares and prints the verdicts.
///
/// # Errors
/// If either side cannot be built or run.
pub(crate) fn run(_session: &Session, _asked: &Compare) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
