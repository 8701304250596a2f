//! SQLite: one writer and several readers on one file in WAL mode, each with a thread of its own.

mod connection;
mod explain;
mod open;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::query_builder::{AsQuery, QueryBuilder, QueryFragment, QueryId};
use diesel::sqlite::SqliteQueryBuilder;
use diesel_async::{AnsiTransactionManager, AsyncConnectionCore, TransactionManager};

pub use self::connection::SqliteConnection;
use self::open::{Target, open};
use self::worker::Worker;
use crate::backend::{Backend, Condition, Driver, Role};
use crate::class::ErrorClass;
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError};
use crate::health::{DatabaseHealth, examine_sqlite};
use crate::lane::Answer;
use crate::lsn::Lsn;
use crate::observe::Recorder;
use crate::shared::OpenToken;
use crate::transaction::TransactionOptions;
use crate::url::BackendKind;

/// SQLite files; a type to name the backend by, without values.
#[derive(Debug)]
pub enum Sqlite {}

impl Backend for Sqlite {
    type Connection = SqliteConnection;
    const KIND: BackendKind = BackendKind::Sqlite;
}

impl Driver<SqliteConnection> for Sqlite {
    type Connector = Target;
    type Row = <SqliteConnection as AsyncConnectionCore>::Row<'static, 'static>;
    const SEPARATE_READERS: bool = true;
    const LANES: bool = false;

    fn connector(config: &PoolConfig) -> Result<Target, ConfigError> {
        Target::new(config)
    }

    async fn connect(
        target: &Target,
        role: Role,
        token: OpenToken,
    ) -> Result<SqliteConnection, ConnectError> {
        let wanted = target.clone();
        let worker = Worker::start(role, token, move || open(&wanted, role))
            .await
            .unwrap_or_else(|source| Err(target.error(Box::new(source))))?;
        Ok(SqliteConnection::new(worker, role))
    }

    fn listen(connection: &mut SqliteConnection, recorder: Arc<Recorder>) {
        connection.listen(recorder);
    }

    fn condition(connection: &mut SqliteConnection) -> Condition {
        connection.condition()
    }

    async fn recover(connection: &mut SqliteConnection) -> QueryResult<()> {
        connection.recover().await
    }

    async fn ping(connection: &mut SqliteConnection) -> QueryResult<()> {
        connection.ping().await
    }

    fn abandon(_: &mut SqliteConnection) {
        // The thread ends its statement, closes the file and then ends itself; SQLite rolls back what is open.
    }

    fn read<'conn, 'query, T>(
        connection: &'conn SqliteConnection,
        source: T,
        _: bool,
    ) -> Answer<'conn, Self::Row>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<diesel::sqlite::Sqlite> + QueryId + 'query,
    {
        connection.read(&source.as_query())
    }

    fn to_sql<T>(query: &T) -> QueryResult<String>
    where
        T: QueryFragment<diesel::sqlite::Sqlite>,
    {
        let mut text = SqliteQueryBuilder::new();
        query.to_sql(&mut text, &diesel::sqlite::Sqlite)?;
        Ok(text.finish())
    }

    // Readers are lent one by one.
    async fn ping_shared(_: &SqliteConnection) -> QueryResult<()> {
        Ok(())
    }

    fn fault(_: &SqliteConnection) -> Option<String> {
        None
    }

    fn hang_up(_: &SqliteConnection) {}

    async fn plan(connection: &mut SqliteConnection, sql: &str) -> QueryResult<String> {
        explain::explain(connection, sql).await
    }

    fn begin(options: &TransactionOptions) -> String {
        // A writer that begins deferred can fail half-way, when it first writes after another process has.
        let sql = if options.read_only {
            "BEGIN DEFERRED"
        } else {
            "BEGIN IMMEDIATE"
        };
        sql.to_owned()
    }

    #[cfg(feature = "query-cache")]
    fn encode<T>(query: &T, key: &mut crate::cache::KeyBuilder) -> QueryResult<String>
    where
        T: QueryFragment<diesel::sqlite::Sqlite>,
    {
        crate::cache::sqlite_key(query, key)
    }

    #[cfg(feature = "query-cache")]
    async fn relations(lane: &mut crate::lane::Lane<Self>) -> QueryResult<crate::cache::Relations> {
        crate::cache::sqlite_schema(lane).await
    }

    async fn commit(
        connection: &mut SqliteConnection,
        _track_lsn: bool,
    ) -> QueryResult<Option<Lsn>> {
        AnsiTransactionManager::commit_transaction(connection).await?;
        Ok(None)
    }

    async fn examine(
        connection: &mut SqliteConnection,
        file: Option<PathBuf>,
    ) -> QueryResult<DatabaseHealth> {
        examine_sqlite(connection, file.unwrap_or_default()).await
    }

    fn take_failure(connection: &mut SqliteConnection) -> Option<ErrorClass> {
        connection.take_failure()
    }
}
