//! A way to read without a transaction: single statements, many of them on one connection.

mod board;
mod desk;
mod lanes;
mod learned;
mod line;
mod reading;
mod shared;
mod sql;
mod worded;

use std::fmt;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::result::Error;
use diesel_async::{AsyncConnectionCore, SimpleAsyncConnection};

pub(crate) use self::lanes::Lanes;
pub(crate) use self::learned::Learned;
pub(crate) use self::reading::Answer;
use self::reading::{Reading, Rows};
use self::shared::SharedLane;
use self::worded::Worded;
use crate::backend::Backend;
use crate::guard::Checkout;

/// A place for single reading statements; it goes back when dropped.
///
/// Use it like a connection: `query.load(&mut lane).await`. Several statements at once go through shared references:
/// `try_join!(a.load(&mut &lane), b.load(&mut &lane))`. All rows are fetched before the first is seen.
///
/// On PostgreSQL many tasks share a few connections, and their statements follow each other without waiting for the
/// answers. A statement that is dropped runs to its end on the server, which `lane_statement_timeout` bounds; slow
/// statements are learned and kept apart from quick ones. Each statement sees what was committed when it began. With
/// `lanes = 0` a lane is a pooled connection.
///
/// On SQLite a lane is one of the readers, which never wait for the writer.
///
/// Whatever needs more than one statement to be right does not compile on a lane. A transaction does on a
/// [`Connection`](crate::Connection):
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
/// nor does a transaction by hand, nor the connection behind it:
///
/// ```compile_fail
/// use diesel_async::{AnsiTransactionManager, TransactionManager};
///
/// async fn by_hand<B: db_pool::Backend>(it: &mut db_pool::Lane<B>) {
///     let _ = AnsiTransactionManager::begin_transaction(it).await;
/// }
/// ```
///
/// ```compile_fail
/// fn behind_it<B: db_pool::Backend>(it: &mut db_pool::Lane<B>) -> &mut B::Connection {
///     &mut **it
/// }
/// ```
///
/// # Errors
/// `execute` and `batch_execute` fail, and so does, on PostgreSQL, loading anything but `SELECT`, `WITH`, `VALUES`,
/// `TABLE`, `SHOW` and `EXPLAIN` that changes neither rows nor the session. A second statement that finds no place
/// within `acquire_timeout` fails with the text of an [`AcquireError`](crate::AcquireError). Where the lane was lost,
/// the kind is `ClosedConnection`, and the statement may be sent again.
pub struct Lane<B: Backend>(Way<B>);

enum Way<B: Backend> {
    Alone(Checkout<B>, Option<Arc<Learned>>),
    Shared(SharedLane<B>),
}

impl<B: Backend> Lane<B> {
    /// A connection of its own; with `learned`, statements that do not only read are refused.
    pub(crate) fn alone(checkout: Checkout<B>, learned: Option<Arc<Learned>>) -> Self {
        Self(Way::Alone(checkout, learned))
    }

    pub(crate) fn shared(lane: SharedLane<B>) -> Self {
        Self(Way::Shared(lane))
    }

    fn read<'conn, 'query, T>(&'conn self, source: T) -> Reading<'conn, B>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Db<B>> + QueryId + 'query,
    {
        let (checkout, learned) = match &self.0 {
            Way::Shared(lane) => return lane.read(source),
            Way::Alone(checkout, None) => {
                return Reading::alone(B::read(checkout.connection(), source, true));
            }
            Way::Alone(checkout, Some(learned)) => (checkout, learned),
        };
        let query = source.as_query();
        match learned.know(T::Query::query_id(), || B::to_sql(&query)) {
            Err(error) => Reading::refused(error),
            Ok(known) => match known.refusal {
                Some(why) => Reading::refused(refused(why)),
                None => {
                    let query = Worded::new(query, Arc::clone(&known.sql));
                    Reading::alone(B::read(checkout.connection(), query, true))
                }
            },
        }
    }
}

type Db<B> = <<B as Backend>::Connection as AsyncConnectionCore>::Backend;
type ExecuteFuture = std::future::Ready<QueryResult<usize>>;

impl<B: Backend> SimpleAsyncConnection for Lane<B> {
    async fn batch_execute(&mut self, _: &str) -> QueryResult<()> {
        Err(reads_only())
    }
}

impl<B: Backend> SimpleAsyncConnection for &Lane<B> {
    async fn batch_execute(&mut self, _: &str) -> QueryResult<()> {
        Err(reads_only())
    }
}

impl<B: Backend> AsyncConnectionCore for Lane<B> {
    type ExecuteFuture<'conn, 'query> = ExecuteFuture;
    type LoadFuture<'conn, 'query> = Reading<'conn, B>;
    type Stream<'conn, 'query> = Rows<B::Row>;
    type Row<'conn, 'query> = B::Row;
    type Backend = Db<B>;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        if let Way::Shared(lane) = &mut self.0 {
            lane.refresh();
        }
        self.read(source)
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

/// Several statements at once.
impl<'lane, B: Backend> AsyncConnectionCore for &'lane Lane<B> {
    type ExecuteFuture<'conn, 'query> = ExecuteFuture;
    type LoadFuture<'conn, 'query> = Reading<'lane, B>;
    type Stream<'conn, 'query> = Rows<B::Row>;
    type Row<'conn, 'query> = B::Row;
    type Backend = Db<B>;

    fn load<'conn, 'query, T>(&'conn mut self, source: T) -> Self::LoadFuture<'conn, 'query>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Self::Backend> + QueryId + 'query,
    {
        self.read(source)
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

/// Why a statement does not run on a lane.
fn refused(why: &str) -> Error {
    let text = format!(
        "a lane only loads what reads, and this was refused because {why}; use `Pool::acquire` or `Pool::transaction`"
    );
    Error::QueryBuilderError(text.into())
}
