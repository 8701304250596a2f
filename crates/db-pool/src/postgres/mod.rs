//! PostgreSQL by tokio-postgres and rustls: connecting, the connection, and repairing it.

mod connect;
mod connection;
mod driver;

use std::sync::Arc;

use diesel::QueryResult;

use self::connect::Connector;
pub use self::connection::PgConnection;
use crate::backend::{Backend, Condition, Driver, Role};
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError};
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
    const SEPARATE_READERS: bool = false;

    fn connector(config: &PoolConfig) -> Result<Connector, ConfigError> {
        Connector::new(config)
    }

    async fn connect(
        connector: &Connector,
        _: Role,
        token: OpenToken,
    ) -> Result<PgConnection, ConnectError> {
        connector.connect(token).await
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
}
