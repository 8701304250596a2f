//! PostgreSQL by tokio-postgres and rustls: connecting, the connection, and repairing it.

mod again;
mod cancel;
mod commit;
mod connect;
mod connection;
mod dial;
mod driver;
mod ear;
mod explain;
mod frames;
mod lane;
mod settings;
mod statement;
mod stream;
mod tls;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use diesel::QueryResult;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AsQuery, QueryBuilder, QueryFragment, QueryId};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection};

pub(crate) use self::again::UnknownTypes;
pub(crate) use self::connect::Connector;
pub use self::connection::PgConnection;
pub(crate) use self::driver::describe;
#[cfg(feature = "backup")]
pub(crate) use self::tls::LibpqTls;
use crate::backend::{Backend, Condition, Driver, Role};
use crate::class::ErrorClass;
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError};
use crate::health::{DatabaseHealth, examine_postgres};
use crate::lane::Answer;
use crate::lsn::Lsn;
use crate::observe::Recorder;
use crate::shared::OpenToken;
use crate::transaction::{Isolation, TransactionOptions};
use crate::url::BackendKind;

/// PostgreSQL servers; a type to name the backend by, without values.
#[derive(Debug)]
pub enum Postgres {}

impl Backend for Postgres {
    type Connection = PgConnection;
    const KIND: BackendKind = BackendKind::Postgres;
}

impl Driver<PgConnection> for Postgres {
    type Connector = Connector;
    type Row = <PgConnection as AsyncConnectionCore>::Row<'static, 'static>;
    const SEPARATE_READERS: bool = false;
    const LANES: bool = true;

    fn connector(config: &PoolConfig) -> Result<Connector, ConfigError> {
        Connector::new(config)
    }

    async fn connect(
        connector: &Connector,
        role: Role,
        token: OpenToken,
    ) -> Result<PgConnection, ConnectError> {
        connector.connect(role, token).await
    }

    fn listen(connection: &mut PgConnection, recorder: Arc<Recorder>) {
        connection.listen(recorder);
    }

    fn condition(connection: &mut PgConnection) -> Condition {
        connection.condition()
    }

    async fn recover(connection: &mut PgConnection) -> QueryResult<()> {
        connection.recover().await
    }

    async fn ping(connection: &mut PgConnection) -> QueryResult<()> {
        connection.ping().await
    }

    fn abandon(connection: &mut PgConnection) {
        connection.abandon();
    }

    fn read<'conn, 'query, T>(
        connection: &'conn PgConnection,
        source: T,
        _: bool,
    ) -> Answer<'conn, Self::Row>
    where
        T: AsQuery + 'query,
        T::Query: QueryFragment<Pg> + QueryId + 'query,
    {
        lane::read(connection, source)
    }

    fn to_sql<T: QueryFragment<Pg>>(query: &T) -> QueryResult<String> {
        let mut text = PgQueryBuilder::new();
        query.to_sql(&mut text, &Pg)?;
        Ok(text.finish())
    }

    async fn ping_shared(connection: &PgConnection) -> QueryResult<()> {
        let mut shared: &AsyncPgConnection = connection;
        shared.batch_execute("").await
    }

    fn fault(connection: &PgConnection) -> Option<String> {
        connection.fault()
    }

    fn hang_up(connection: &PgConnection) {
        connection.hang_up();
    }

    async fn plan(connection: &mut PgConnection, sql: &str) -> QueryResult<String> {
        explain::explain(connection, sql).await
    }

    fn begin(options: &TransactionOptions) -> String {
        let mut sql = String::from("BEGIN");
        match options.isolation {
            None => {}
            Some(Isolation::ReadCommitted) => sql.push_str(" ISOLATION LEVEL READ COMMITTED"),
            Some(Isolation::RepeatableRead) => sql.push_str(" ISOLATION LEVEL REPEATABLE READ"),
            Some(Isolation::Serializable) => sql.push_str(" ISOLATION LEVEL SERIALIZABLE"),
        }
        if options.read_only {
            sql.push_str(" READ ONLY");
        }
        if options.deferrable {
            sql.push_str(" DEFERRABLE");
        }
        sql
    }

    #[cfg(feature = "query-cache")]
    fn encode<T>(query: &T, key: &mut crate::cache::KeyBuilder) -> QueryResult<String>
    where
        T: QueryFragment<Pg>,
    {
        crate::cache::postgres_key(query, key)
    }

    #[cfg(feature = "query-cache")]
    async fn relations(lane: &mut crate::lane::Lane<Self>) -> QueryResult<crate::cache::Relations> {
        crate::cache::postgres_schema(lane).await
    }

    async fn commit(connection: &mut PgConnection, track_lsn: bool) -> QueryResult<Option<Lsn>> {
        connection.commit_at(track_lsn).await
    }

    async fn examine(
        connection: &mut PgConnection,
        _: Option<PathBuf>,
    ) -> QueryResult<DatabaseHealth> {
        examine_postgres(connection).await
    }

    fn take_failure(connection: &mut PgConnection) -> Option<ErrorClass> {
        connection.take_failure()
    }

    async fn transaction_id(connection: &mut PgConnection) -> QueryResult<Option<u64>> {
        commit::transaction_id(connection).await
    }

    async fn was_committed(connection: &mut PgConnection, id: u64) -> QueryResult<Option<bool>> {
        commit::was_committed(connection, id).await
    }
}
