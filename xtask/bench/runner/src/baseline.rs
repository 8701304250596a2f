//! `bench baseline`: programs and reports kept to compare with later.

use crate::session::{Exit, Session};

/// Keeps the programs and the report of this tree.
///
/// # Errors
/// If they cannot be built or copied.
pub(crate) fn save(_session: &Session, _name: &str) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}

/// Prints what is kept.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn list(_session: &Session) -> anyhow::Result<Exit> {
    anyhow::bail!("not there yet")
}
