//! What can go wrong with copies, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A copy could not be taken, kept, verified or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A setting cannot work.
    #[error("backup setting `{field}` {problem}")]
    #[non_exhaustive]
    Config {
        /// The name of the field in [`BackupConfig`](crate::BackupConfig).
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    #[non_exhaustive]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database refused, or could not be reached.
    #[error("the database could not be {action}")]
    #[non_exhaustive]
    Database {
        /// What was tried: copied, restored, counted.
        action: &'static str,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A program that PostgreSQL needs is not installed, or not where the configuration says.
    #[error("`{program}` was not found; install PostgreSQL's client programs or set `programs`")]
    #[non_exhaustive]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// `pg_dump` or `pg_restore` failed.
    #[error("`{program}` failed: {said}")]
    #[non_exhaustive]
    Program {
        /// Its name.
        program: &'static str,
        /// The end of what it said.
        said: String,
    },
    /// It took longer than `limit`.
    #[error("not done after {limit:?}, which is `limit`; raise it")]
    #[non_exhaustive]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A copy is not what was written, or the database in it is damaged: use an older one.
    #[error("the copy {} is damaged: {problem}; use an older one", path.display())]
    #[non_exhaustive]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The place to write to holds something already; nothing was touched.
    #[error("{target} {problem}; a copy goes to a fresh place, to which one then switches over")]
    #[non_exhaustive]
    TargetInUse {
        /// The database or file.
        target: String,
        /// What is there.
        problem: String,
    },
    /// The restored database has other rows than the copy had.
    #[error("table {table} has {found} rows after restoring, not {expected}")]
    #[non_exhaustive]
    RowsDiffer {
        /// The first table that differs.
        table: String,
        /// The rows in the copy.
        expected: u64,
        /// The rows that were found.
        found: u64,
    },
    /// The thread that copied panicked, or the runtime stopped.
    #[error("copying was interrupted")]
    Interrupted,
}

impl BackupError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(super) fn database<E: Into<Box<dyn Error + Send + Sync>>>(
        action: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Database {
            action,
            source: source.into(),
        }
    }
}

/// An error with all its causes on one line.
pub(super) struct Chain<'a>(pub(super) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
