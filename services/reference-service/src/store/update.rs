//! One step of an optimistic update, apart from the statements that carry it out.
//!
//! An update reads, lets the caller change a copy, and writes on the condition that the version is
//! still the one that was read. Whoever loses that race lets go of the connection, gives way for a
//! moment and reads again: no update is ever lost.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::error::{StoreError, UpdateError};
use crate::domain::{Record, Task};

/// How often an update is tried before it gives up.
///
/// Of those that race, one wins each round, but new ones may join as fast as others win: no number is
/// enough for certain. With the pauses of [`give_way`] far more clients than there are connections
/// get through; without them some starved.
pub(super) const ATTEMPTS: u32 = 32;

/// The longest pause between two attempts; all of them together stay under four seconds.
const PAUSE_MAX: Duration = Duration::from_millis(128);

/// Pauses after the `lost`-th lost race: at random, within a span that doubles from two milliseconds,
/// so that those who lost together do not meet again. Hold no connection meanwhile.
pub(super) async fn give_way(lost: u32) {
    let span = Duration::from_millis(1)
        .saturating_mul(1 << lost.min(16))
        .min(PAUSE_MAX);
    // The standard library's only source of chance; it need not be a good one.
    let chance = RandomState::new().hash_one(lost);
    let share = f64::from(u16::try_from(chance & 0xffff).unwrap_or(u16::MAX)) / 65_536.0;
    tokio::time::sleep(span.mul_f64(share)).await;
}

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
