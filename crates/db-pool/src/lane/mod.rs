//! A way to read without a transaction: single statements, so that the pool may later run many on one connection.

use std::fmt;

use diesel::QueryResult;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::Error;
use diesel_async::{AsyncConnectionCore, SimpleAsyncConnection};

use crate::backend::Backend;
use crate::guard::Checkout;

/// A borrowed place for single reading statements; it goes back when dropped.
///
/// Use it like a connection: `query.load(&mut lane).await`. Whatever needs more than one statement to be right does
/// not compile on it. A transaction does on a [`Connection`](crate::Connection):
///
/// ```
/// use diesel_async::AsyncConnection;
///
/// async fn two_statements<B: db_pool::Backend>(it: &mut db_pool::Connection<B>) {
///     let _ = it.transaction(async |_| Ok::<_, diesel::result::Error>(())).await;
/// }
/// ```
///
/// and does not on a lane:
///
/// ```compile_fail
/// use diesel_async::AsyncConnection;
///
/// async fn two_statements<B: db_pool::Backend>(it: &mut db_pool::Lane<B>) {
///     let _ = it.transaction(async |_| Ok::<_, diesel::result::Error>(())).await;
/// }
/// ```
///
/// `execute` and `batch_execute` answer with an error. On SQLite the connection behind it refuses every write
/// (`query_only`). On PostgreSQL it is an ordinary pooled connection for now: an `INSERT ... RETURNING` that is
/// `load`ed would write.
pub struct Lane<B: Backend>(pub(crate) Checkout<B>);

impl<B: Backend> SimpleAsyncConnection for Lane<B> {
    async fn batch_execute(&mut self, _: &str) -> QueryResult<()> {
        Err(reads_only())
    }
}

impl<B: Backend> AsyncConnectionCore for Lane<B> {
    type ExecuteFuture<'conn, 'query> = std::future::Ready<QueryResult<usize>>;
    type LoadFuture<'conn, 'query> =
        <B::Connection as AsyncConnectionCore>::LoadFuture<'conn, 'query>;
    type Stream<'conn, 'query> = <B::Connection as AsyncConnectionCore>::Stream<'conn, 'query>;
    type Row<'conn, 'query> = <B::Connection as AsyncConnectionCore>::Row<'conn, 'query>;
    type Backend = <B::Connection as AsyncConnectionCore>::Backend;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        self.0.connection_mut().load(source)
    }

    fn execute_returning_count<'conn, 'query, T>(
        &'conn mut self,
        _: T,
    ) -> Self::ExecuteFuture<'conn, 'query>
    where
        T: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        std::future::ready(Err(reads_only()))
    }
}

impl<B: Backend> fmt::Debug for Lane<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("backend", &B::KIND)
            .finish_non_exhaustive()
    }
}

fn reads_only() -> Error {
    Error::QueryBuilderError(
        "a lane only loads rows; use `Pool::acquire` or `Pool::transaction` to write".into(),
    )
}
