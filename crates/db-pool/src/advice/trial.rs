//! Trying a suggested index: what the plan, its cost and the time are before and after.

use std::fmt;
use std::time::Duration;

use diesel::result::Error;
use serde::Serialize;

use super::finding::SuggestedIndex;
use crate::error::AcquireError;
use crate::sql::quote;

/// How an index is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialOptions {
    /// PostgreSQL without `hypopg`: build the index in a transaction that is rolled back. Default `false`.
    ///
    /// Danger: all writers of the table wait until the trial is over.
    pub build: bool,
    /// The longest that the trial may take. Default 30 s.
    ///
    /// On SQLite a copy that has begun is finished in the background, and then removed.
    pub limit: Duration,
}

impl Default for TrialOptions {
    fn default() -> Self {
        Self {
            build: false,
            limit: Duration::from_secs(30),
        }
    }
}

/// What an index changes; prints as a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IndexTrial {
    /// The index.
    pub index: SuggestedIndex,
    /// Whether the planner uses it.
    pub used: bool,
    /// Without it.
    pub before: Measured,
    /// With it.
    pub after: Measured,
    /// How long building it took, where it was built.
    #[serde(serialize_with = "seconds")]
    pub built_in: Option<Duration>,
}

/// A plan and its price.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Measured {
    /// One step on a line.
    pub plan: String,
    /// The planner's estimate; SQLite tells none.
    pub cost: Option<f64>,
    /// The best of three runs, where the statement could be run.
    #[serde(serialize_with = "seconds")]
    pub took: Option<Duration>,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn seconds<S: serde::Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.as_secs_f64()).serialize(to)
}

impl fmt::Display for IndexTrial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = if self.used { "used" } else { "not used" };
        write!(f, "index on {}: {used}", self.index)?;
        if let (Some(before), Some(after)) = (self.before.cost, self.after.cost) {
            write!(f, ", cost {before:.1} before and {after:.1} after")?;
        }
        if let (Some(before), Some(after)) = (self.before.took, self.after.took) {
            write!(f, ", {before:.1?} before and {after:.1?} after")?;
        }
        if let Some(built_in) = self.built_in {
            write!(f, ", built in {built_in:.1?}")?;
        }
        for (when, measured) in [("before", &self.before), ("after", &self.after)] {
            write!(f, "\n{when}")?;
            for line in measured.plan.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// An index could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The finding suggests no index.
    #[error("this finding suggests no index")]
    NoIndex,
    /// The statement has been forgotten since; only so many are kept.
    #[error("the statement of this finding is no longer known; ask for advice again")]
    Forgotten,
    /// Nothing can be tried without building.
    #[error(
        "hypopg is not installed; set `TrialOptions::build` to build the index in a transaction that is rolled back, which keeps writers of the table waiting"
    )]
    NeedsBuild,
    /// No connection could be borrowed.
    #[error("no connection for trying an index")]
    Acquire(#[from] AcquireError),
    /// The database refused a step.
    #[error("the index could not be tried")]
    Database(#[from] Error),
    /// The copy of the file could not be made.
    #[error("the database could not be copied for trying an index")]
    Copy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("trying the index took longer than {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
}

/// What is to be tried.
#[derive(Debug)]
#[doc(hidden)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Trial {
    pub(super) index: SuggestedIndex,
    pub(super) sql: String,
    pub(super) options: TrialOptions,
}

impl Trial {
    pub(super) fn new(index: SuggestedIndex, sql: String, options: TrialOptions) -> Self {
        Self {
            index,
            sql,
            options,
        }
    }
}

/// What a foreign key asks of its table: the rows of one parent.
pub(super) fn lookup(index: &SuggestedIndex) -> String {
    let columns = index.columns.iter().zip(1..);
    let equal: Vec<String> = columns
        .map(|((name, _), at)| format!("{} = ${at}", quote(name)))
        .collect();
    format!(
        "SELECT 1 FROM {} WHERE {}",
        index.table_sql(),
        equal.join(" AND ")
    )
}
