//! One step of an optimistic update, apart from the statements that carry it out.
//!
//! An update reads, lets the caller change a copy, and writes on the condition that the version is
//! still the one that was read. Whoever loses that race reads again: no update is ever lost.

use super::error::{StoreError, UpdateError};
use crate::domain::{Record, Task};

/// How often an update is tried before it gives up.
///
/// Of those that race, one wins each round, so this many updates of one row at the same moment
/// succeed for certain.
pub(super) const ATTEMPTS: u32 = 32;

/// A stored thing that carries a version.
pub(super) trait Versioned: Clone + PartialEq {
    /// Its version.
    fn version(&self) -> i64;
    /// Gives it the identity of `before` and the version after that one.
    fn succeed(&mut self, before: &Self);
    /// Refuses what cannot be stored.
    fn check(&self) -> Result<(), StoreError>;
}

/// The successor of `before`, or nothing when `change` left it as it was.
///
/// # Errors
/// [`UpdateError::VersionMismatch`] before `change` is called, [`UpdateError::Rejected`] by it, and
/// text that cannot be stored.
pub(super) fn successor<V: Versioned, E>(
    before: &V,
    expected_version: Option<i64>,
    change: &mut impl FnMut(&mut V) -> Result<(), E>,
) -> Result<Option<V>, UpdateError<E>> {
    let current = before.version();
    if expected_version.is_some_and(|expected| expected != current) {
        return Err(UpdateError::VersionMismatch { current });
    }
    let mut after = before.clone();
    change(&mut after).map_err(UpdateError::Rejected)?;
    if after == *before {
        return Ok(None);
    }
    after.succeed(before);
    after.check()?;
    Ok(Some(after))
}

impl Versioned for Task {
    fn version(&self) -> i64 {
        self.version
    }

    fn succeed(&mut self, before: &Self) {
        self.id = before.id;
        self.created_at = before.created_at;
        self.version = before.version.saturating_add(1);
    }

    fn check(&self) -> Result<(), StoreError> {
        super::no_nul("title", &self.title)?;
        super::no_nul(
            "description",
            self.description.as_deref().unwrap_or_default(),
        )?;
        super::no_nul(
            "assigned_agent_id",
            self.assigned_agent_id.as_deref().unwrap_or_default(),
        )
    }
}

impl Versioned for Record {
    fn version(&self) -> i64 {
        self.version
    }

    fn succeed(&mut self, before: &Self) {
        self.id = before.id;
        self.created_at = before.created_at;
        self.version = before.version.saturating_add(1);
    }

    fn check(&self) -> Result<(), StoreError> {
        super::no_nul("title", &self.title)?;
        super::no_nul("text", &self.text)?;
        self.tags
            .iter()
            .try_for_each(|tag| super::no_nul("tags", tag))
    }
}
