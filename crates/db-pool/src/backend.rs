//! The seam between the pool and a database: what a backend must be able to do, sealed to the two this crate knows.

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::row::Row;
use diesel_async::{AnsiTransactionManager, AsyncConnection, AsyncConnectionCore};

use crate::class::ErrorClass;
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError};
use crate::health::DatabaseHealth;
use crate::lane::Answer;
use crate::lsn::Lsn;
use crate::observe::Recorder;
use crate::shared::OpenToken;
use crate::transaction::TransactionOptions;
use crate::url::BackendKind;

/// A database that a [`Pool`](crate::Pool) can serve; sealed: [`Sqlite`](crate::Sqlite) and
/// [`Postgres`](crate::Postgres) are the only ones.
pub trait Backend: Driver<<Self as Backend>::Connection> + Debug + Send + Sync + 'static {
    /// The connection that queries run on.
    type Connection: AsyncConnection<TransactionManager = AnsiTransactionManager>
        + Send
        + Sync
        + 'static;
    /// Which database this is.
    const KIND: BackendKind;
}

/// What the pool asks of a backend. Public only because it is a supertrait; its path is private, so nobody else can
/// implement it.
#[expect(unnameable_types, reason = "the private path is what seals `Backend`")]
pub trait Driver<C: AsyncConnectionCore>: Sized {
    /// Everything that connecting needs, made from the configuration once.
    type Connector: Send + Sync + 'static;
    /// A row that belongs to nobody.
    type Row: for<'row> Row<'row, C::Backend> + Send + 'static;
    /// Whether [`Role::Reader`] connections are a set of their own.
    const SEPARATE_READERS: bool;
    /// Whether reads share connections of [`Role::Lane`], and are checked to be reads.
    const LANES: bool;

    fn connector(config: &PoolConfig) -> Result<Self::Connector, ConfigError>;
    fn connect(
        connector: &Self::Connector,
        role: Role,
        open: OpenToken,
    ) -> impl Future<Output = Result<C, ConnectError>> + Send;
    /// Lets `recorder` hear every statement from now on, whatever instrumentation the user sets.
    fn listen(connection: &mut C, recorder: Arc<Recorder>);
    /// In what state the borrower left the connection; flags only, no input or output.
    fn condition(connection: &mut C) -> Condition;
    /// Waits for an abandoned statement and rolls back what is open. The caller bounds it.
    fn recover(connection: &mut C) -> impl Future<Output = QueryResult<()>> + Send;
    /// The cheapest round trip.
    fn ping(connection: &mut C) -> impl Future<Output = QueryResult<()>> + Send;
    /// Called before a connection that could not be recovered is dropped.
    fn abandon(connection: &mut C);
    /// Sends a statement and fetches all its rows, beside others on the same connection. `alone` says that the
    /// connection is lent, so that a dropped statement is for its return to repair.
    fn read<'conn, 'query, T>(
        connection: &'conn C,
        source: T,
        alone: bool,
    ) -> Answer<'conn, Self::Row>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<C::Backend> + QueryId + 'query;
    /// The text of a query.
    fn to_sql<T>(query: &T) -> QueryResult<String>
    where
        T: QueryFragment<C::Backend>;
    /// [`ping`](Self::ping) beside other statements.
    fn ping_shared(connection: &C) -> impl Future<Output = QueryResult<()>> + Send;
    /// Why the connection has ended; `None` while it lives.
    fn fault(connection: &C) -> Option<String>;
    /// Closes the connection for all who share it.
    fn hang_up(connection: &C);
    /// How the database would run `sql` with unknown values, as text; executes nothing. The caller bounds it.
    fn plan(connection: &mut C, sql: &str) -> impl Future<Output = QueryResult<String>> + Send;
    /// The statement that opens a transaction.
    fn begin(options: &TransactionOptions) -> String;
    /// Appends the SQL and the values of `query` to `key`, and returns the SQL.
    #[cfg(feature = "query-cache")]
    fn encode<T>(query: &T, key: &mut crate::cache::KeyBuilder) -> QueryResult<String>
    where
        C: AsyncConnectionCore,
        T: QueryFragment<<C as AsyncConnectionCore>::Backend>;
    /// What the query cache has to know about the schema.
    #[cfg(feature = "query-cache")]
    fn relations(
        lane: &mut crate::lane::Lane<Self>,
    ) -> impl Future<Output = QueryResult<crate::cache::Relations>> + Send
    where
        Self: Backend<Connection = C>;
    /// Commits; with `track_lsn` also says where in the log, if there is one.
    fn commit(
        connection: &mut C,
        track_lsn: bool,
    ) -> impl Future<Output = QueryResult<Option<Lsn>>> + Send;
    /// What the last failed statement was about, since the last call. Statements that fail because an earlier one
    /// had do not count.
    fn take_failure(connection: &mut C) -> Option<ErrorClass>;
    /// Asks the database how it does; `file` is where a SQLite database lies.
    fn examine(
        connection: &mut C,
        file: Option<PathBuf>,
    ) -> impl Future<Output = QueryResult<DatabaseHealth>> + Send;
    /// The number of the open transaction; `None` if it has none, because it wrote nothing or the database gives none.
    fn transaction_id(_: &mut C) -> impl Future<Output = QueryResult<Option<u64>>> + Send {
        std::future::ready(Ok(None))
    }
    /// Whether the transaction with this number was committed; `None` if that is not known or not decided yet.
    fn was_committed(_: &mut C, _: u64) -> impl Future<Output = QueryResult<Option<bool>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// What a connection is opened for.
#[expect(unnameable_types, reason = "part of the sealed supertrait")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes.
    Writer,
    /// Reads only; refuses writes where the database can enforce it.
    Reader,
    /// Reads only, for many tasks at once.
    Lane,
}

/// In what state a borrower left a connection.
#[expect(unnameable_types, reason = "part of the sealed supertrait")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Ready for the next borrower.
    Clean,
    /// A statement may still run or a transaction may be open.
    Dirty,
    /// Beyond repair.
    Broken,
}
