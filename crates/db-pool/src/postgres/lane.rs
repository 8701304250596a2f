//! Statements of many tasks on one PostgreSQL connection.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel_async::{AsyncConnectionCore, AsyncPgConnection};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use super::connection::PgConnection;
use crate::config::PoolConfig;
use crate::lane::Answer;

pub(super) type PgRow = <AsyncPgConnection as AsyncConnectionCore>::Row<'static, 'static>;

/// Sends one statement behind those that are under way, and fetches all its rows.
pub(super) fn read<'conn, 'query, T>(
    connection: &'conn PgConnection,
    source: T,
) -> Answer<'conn, PgRow>
where
    T: AsQuery + 'query,
    T::Query: QueryFragment<Pg> + QueryId + 'query,
{
    let statement = connection.read(source);
    Box::pin(async move { all(statement.await?).await })
}

/// Stops at the first error: the driver repeats it for ever.
async fn all(
    mut rows: BoxStream<'static, QueryResult<PgRow>>,
) -> QueryResult<Vec<QueryResult<PgRow>>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next().await {
        all.push(Ok(row?));
    }
    Ok(all)
}

/// What a lane asks of its session, on top of what every session is asked for.
pub(super) fn session_options(config: &PoolConfig) -> String {
    let limit = config.lane_statement_timeout.as_millis();
    format!("-c default_transaction_read_only=on -c statement_timeout={limit}")
}
