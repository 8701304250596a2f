//! Declared indexes: looked for at the start of a program, created where wished, and asserted in tests.

mod compare;
mod declare;
#[cfg(feature = "postgres")]
mod postgres;
mod report;
#[cfg(feature = "sqlite")]
mod sqlite;
mod usage;

use std::future::Future;

pub use self::declare::Index;
pub use self::report::{IndexEntry, IndexError, IndexReport, IndexState};
use self::usage::Explain;
pub use self::usage::{IndexNotUsed, assert_uses_index};
use crate::backend::Backend;
use crate::pool::Pool;

/// A backend whose indexes can be looked at; sealed like [`Backend`].
pub trait Indexed: Backend + Explain {
    #[doc(hidden)]
    fn check(
        pool: &Pool<Self>,
        declared: &[Index],
    ) -> impl Future<Output = Result<IndexReport, IndexError>> + Send
    where
        Self: Sized;

    #[doc(hidden)]
    fn ensure(
        pool: &Pool<Self>,
        declared: &[Index],
    ) -> impl Future<Output = Result<IndexReport, IndexError>> + Send
    where
        Self: Sized;
}

impl<B: Indexed> Pool<B> {
    /// Looks for the declared indexes and tells the state of each; changes nothing.
    ///
    /// An index counts if it has the same columns in the same order and direction, is valid, covers the same rows, and
    /// is unique where that is declared, whatever its name. Conditions are compared as text, apart from what databases
    /// add when they write them down; where that does not decide, the state is [`IndexState::Unclear`]. Two statements
    /// on one connection; dropping the future harms nothing.
    ///
    /// # Errors
    /// [`IndexError::Acquire`] and [`IndexError::Catalog`]. An index that is missing is no error.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(pool: db_pool::Pool<db_pool::Sqlite>) -> Result<(), db_pool::IndexError> {
    /// use db_pool::{Index, ensure_indexes};
    ///
    /// const INDEXES: &[Index] = ensure_indexes! {
    ///     users (email) unique;
    ///     posts (author_id, created_at);
    /// };
    /// let report = pool.check_indexes(INDEXES).await?;
    /// if !report.is_complete() {
    ///     eprintln!("{report}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check_indexes(&self, declared: &[Index]) -> Result<IndexReport, IndexError> {
        B::check(self, declared).await
    }

    /// Creates the declared indexes that are missing and tells the state of all; never changes or drops a valid one.
    ///
    /// PostgreSQL builds them with `CREATE INDEX CONCURRENTLY`, so that writers go on, one process at a time under an
    /// advisory lock (it needs a session, so not PgBouncer in transaction mode). What an earlier attempt left invalid
    /// is dropped and built again. Statement time-outs are off meanwhile; a lock that is not granted within two
    /// seconds is tried for five times. `CONCURRENTLY` does not work on partitioned tables: that is an error. SQLite
    /// builds on the writer, and all other writes wait.
    ///
    /// Dropping the future closes the connection; what PostgreSQL was building stays invalid until the next call.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub async fn ensure_indexes(&self, declared: &[Index]) -> Result<IndexReport, IndexError> {
        B::ensure(self, declared).await
    }
}

fn report(declared: &[Index], state: impl Fn(&Index) -> IndexState) -> IndexReport {
    let entries = declared
        .iter()
        .map(|index| IndexEntry {
            declared: index.to_string(),
            state: state(index),
        })
        .collect();
    IndexReport { entries }
}
