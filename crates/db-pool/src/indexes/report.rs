//! What became of declared indexes, and why looking or creating failed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::compare::Existing;
use crate::error::AcquireError;

/// The state of one declared index in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum IndexState {
    /// It is there, under this name; the name does not matter.
    Present {
        /// Its name.
        name: String,
    },
    /// It was missing and is there now.
    Created {
        /// Its name.
        name: String,
    },
    /// It was an invalid leftover; it was dropped, and built again.
    Rebuilt {
        /// Its name.
        name: String,
    },
    /// It is not there.
    Missing,
    /// A `CREATE INDEX CONCURRENTLY` failed and left it behind: it costs with every write and is never used.
    Invalid {
        /// Its name.
        name: String,
    },
    /// Somebody builds it right now.
    Building {
        /// Its name.
        name: String,
    },
    /// An index of the same name is another one. It is never touched.
    Different {
        /// Its name.
        name: String,
        /// In what it differs.
        what: String,
    },
    /// An index on the same columns has a condition of which the text alone does not tell whether it is the declared
    /// one. It is never touched, and no second one is created.
    Unclear {
        /// Its name.
        name: String,
        /// What cannot be told.
        what: String,
    },
    /// There is no such table, or this user may not see it.
    NoTable,
}

impl IndexState {
    pub(super) fn present(index: &Existing) -> Self {
        let name = index.name.clone();
        Self::Present { name }
    }

    pub(super) fn invalid(index: &Existing) -> Self {
        let name = index.name.clone();
        Self::Invalid { name }
    }

    pub(super) fn building(index: &Existing) -> Self {
        let name = index.name.clone();
        Self::Building { name }
    }

    pub(super) fn different(index: &Existing, what: String) -> Self {
        let name = index.name.clone();
        Self::Different { name, what }
    }

    pub(super) fn unclear(index: &Existing, what: String) -> Self {
        let name = index.name.clone();
        Self::Unclear { name, what }
    }

    /// Whether the database can use the index as it was declared.
    pub fn is_present(&self) -> bool {
        matches!(
            self,
            Self::Present { .. } | Self::Created { .. } | Self::Rebuilt { .. }
        )
    }
}

impl fmt::Display for IndexState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present { name } => write!(f, "present as {name}"),
            Self::Created { name } => write!(f, "created as {name}"),
            Self::Rebuilt { name } => write!(f, "built again: {name}"),
            Self::Missing => f.write_str("missing"),
            Self::Invalid { name } => write!(f, "invalid: {name}"),
            Self::Building { name } => write!(f, "being built: {name}"),
            Self::Different { name, what } => write!(f, "different: {name}: {what}"),
            Self::Unclear { name, what } => write!(f, "unclear: {name}: {what}"),
            Self::NoTable => f.write_str("no such table"),
        }
    }
}

/// One declared index and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexEntry {
    /// As it was declared: `users (email) unique`.
    pub declared: String,
    /// How it is.
    #[serde(flatten)]
    pub state: IndexState,
}

/// The declared indexes and their states, in the order of the declaration; prints one line for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexReport {
    /// One for each declared index.
    pub entries: Vec<IndexEntry>,
}

impl IndexReport {
    /// Whether all declared indexes can be used.
    pub fn is_complete(&self) -> bool {
        self.problems().next().is_none()
    }

    /// The ones that cannot be used as declared.
    pub fn problems(&self) -> impl Iterator<Item = &IndexEntry> {
        self.entries
            .iter()
            .filter(|entry| !entry.state.is_present())
    }
}

impl fmt::Display for IndexReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |entry: &IndexEntry| entry.declared.chars().count();
        let widest = self.entries.iter().map(width).max().unwrap_or(0).min(60);
        for (at, entry) in self.entries.iter().enumerate() {
            let line = if at > 0 { "\n" } else { "" };
            let mark = if entry.state.is_present() { ' ' } else { '!' };
            write!(
                f,
                "{line}{mark} {:widest$}  {}",
                entry.declared, entry.state
            )?;
        }
        Ok(())
    }
}

/// Declared indexes could not be looked at or created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// No connection could be borrowed.
    #[error("no connection for looking at indexes")]
    Acquire(#[from] AcquireError),
    /// The database did not tell its indexes.
    #[error("the indexes of the database could not be read")]
    Catalog(#[source] diesel::result::Error),
    /// Another process held the lock under which indexes are created all the time.
    #[error(
        "another process has been creating indexes for {waited:?}; see what it does, then try again"
    )]
    Locked {
        /// How long this one waited.
        waited: Duration,
    },
    /// One index could not be created; those before it stay.
    #[error("index `{name}` on {declared} could not be created")]
    Create {
        /// The name that it would have had.
        name: String,
        /// As it was declared.
        declared: String,
        /// Why; a unique index fails on rows that are equal.
        source: Box<dyn Error + Send + Sync>,
    },
}
