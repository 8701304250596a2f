//! Asserting in a test that the planner uses an index for a query.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::backend::Backend as DieselBackend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel_async::AsyncConnectionCore;

use super::Indexed;
use crate::backend::Backend;
use crate::error::AcquireError;
use crate::pool::Pool;

/// What diesel calls the database of `B`.
type Dialect<B> = <<B as Backend>::Connection as AsyncConnectionCore>::Backend;

/// The part of [`Indexed`] that asks the planner; apart because it is generic in the query.
#[expect(unnameable_types, reason = "the private path is what seals `Indexed`")]
pub trait Explain: Backend {
    #[doc(hidden)]
    fn explain<Q>(
        pool: &Pool<Self>,
        query: Q,
        index: &str,
    ) -> impl Future<Output = Result<Explained, IndexNotUsed>> + Send
    where
        Q: QueryFragment<Dialect<Self>> + QueryId + Send,
        Self: Sized;
}

/// What the planner says.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "part of a sealed trait")]
pub struct Explained {
    pub(crate) used: bool,
    /// Whether there is an index of the name in question.
    pub(crate) exists: bool,
    pub(crate) plan: String,
}

/// Succeeds if the planner uses `index` for `query`; for tests, so that a query does not lose its index unnoticed.
///
/// The query is planned with its values and not run. On PostgreSQL sequential scans are discouraged while planning, so
/// that the small tables of a test do: what is asserted is that the index *can* serve the query. SQLite prefers an index
/// by itself unless statistics from `ANALYZE` say that the table is tiny.
///
/// # Errors
/// [`IndexNotUsed`], which shows the plan; also in its `Debug` output, so that `unwrap` in a test reads well.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: db_pool::Pool<db_pool::Sqlite>) -> Result<(), db_pool::IndexNotUsed> {
/// use diesel::prelude::*;
///
/// diesel::table! { users { id -> Integer, email -> Text, } }
/// let by_email = users::table.filter(users::email.eq("a@example.org")).select(users::id);
/// db_pool::assert_uses_index(&pool, by_email, "users_email_key").await?;
/// # Ok(())
/// # }
/// ```
pub async fn assert_uses_index<B, Q>(
    pool: &Pool<B>,
    query: Q,
    index: &str,
) -> Result<(), IndexNotUsed>
where
    B: Indexed,
    Q: QueryFragment<Dialect<B>> + QueryId + Send,
{
    let explained = B::explain(pool, query, index).await?;
    if explained.used {
        return Ok(());
    }
    Err(IndexNotUsed::NotUsed {
        index: index.to_owned(),
        exists: explained.exists,
        plan: explained.plan,
    })
}

/// A query does not use the index that it should.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum IndexNotUsed {
    /// No connection could be borrowed.
    #[error("no connection for explaining a query")]
    Acquire(#[from] AcquireError),
    /// The database could not plan the query.
    #[error("the query could not be explained")]
    Explain(#[from] diesel::result::Error),
    /// The planner chose otherwise.
    #[error("index `{index}` {}; the plan is\n{plan}", if *exists { "is not used" } else { "does not exist" })]
    NotUsed {
        /// The name of the index.
        index: String,
        /// Whether there is such an index at all.
        exists: bool,
        /// The plan as the database shows it.
        plan: String,
    },
}

/// As `Display` with the cause, for `unwrap` in tests: the plan in one escaped line would help nobody.
impl fmt::Debug for IndexNotUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        match std::error::Error::source(self) {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// A query behind words that have it explained; `S` is what then comes as rows.
#[derive(Debug)]
pub(super) struct Asked<Q, S> {
    how: &'static str,
    query: Q,
    rows: PhantomData<fn() -> S>,
}

impl<Q, S> Asked<Q, S> {
    pub(super) fn new(how: &'static str, query: Q) -> Self {
        let rows = PhantomData;
        Self { how, query, rows }
    }
}

impl<Q, S, DB> QueryFragment<DB> for Asked<Q, S>
where
    DB: DieselBackend,
    Q: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        pass.unsafe_to_cache_prepared();
        pass.push_sql(self.how);
        self.query.walk_ast(pass)
    }
}

impl<Q, S> QueryId for Asked<Q, S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, S> Query for Asked<Q, S> {
    type SqlType = S;
}
