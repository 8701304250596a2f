//! Asking a PostgreSQL server how it does.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use super::report::{DatabaseHealth, PostgresHealth, Sessions};
use crate::postgres::PgConnection;

pub(crate) async fn examine(connection: &mut PgConnection) -> QueryResult<DatabaseHealth> {
    let server: Server = sql_query(SERVER).get_result(connection).await?;
    let sessions: Vec<State> = sql_query(SESSIONS).load(connection).await?;
    Ok(DatabaseHealth::Postgres(PostgresHealth {
        version: server.version,
        standby: server.standby,
        sessions: sessions
            .into_iter()
            .map(|state| Sessions {
                state: state.state,
                count: state.count,
                oldest_transaction: seconds(state.oldest),
            })
            .collect(),
        waiting_for_locks: server.waiting_for_locks,
        connections_used: server.connections_used,
        connections_max: server.connections_max,
        replay_lag: seconds(server.replay_lag),
        standbys: server.standbys,
    }))
}

fn seconds(value: Option<f64>) -> Option<Duration> {
    // The clocks of two servers may differ: what is negative counts as nothing.
    value.map(|value| Duration::try_from_secs_f64(value).unwrap_or_default())
}

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Bool)]
    standby: bool,
    #[diesel(sql_type = BigInt)]
    waiting_for_locks: i64,
    #[diesel(sql_type = BigInt)]
    connections_used: i64,
    #[diesel(sql_type = BigInt)]
    connections_max: i64,
    #[diesel(sql_type = Nullable<Double>)]
    replay_lag: Option<f64>,
    #[diesel(sql_type = BigInt)]
    standbys: i64,
}

#[derive(QueryableByName)]
struct State {
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Nullable<Double>)]
    oldest: Option<f64>,
}

/// The lag in time grows while the primary writes nothing, so the places are compared first.
const SERVER: &str = "SELECT
    current_setting('server_version') AS version,
    pg_is_in_recovery() AS standby,
    (SELECT count(*) FROM pg_stat_activity
        WHERE application_name = current_setting('application_name')
        AND datname = current_database() AND wait_event_type = 'Lock') AS waiting_for_locks,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections_used,
    current_setting('max_connections')::int8
        - current_setting('superuser_reserved_connections')::int8 AS connections_max,
    CASE WHEN NOT pg_is_in_recovery() THEN NULL
        WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp())
    END::float8 AS replay_lag,
    (SELECT count(*) FROM pg_stat_replication) AS standbys";

const SESSIONS: &str = "SELECT coalesce(state, 'unknown') AS state, count(*) AS count,
    extract(epoch FROM max(clock_timestamp() - xact_start))::float8 AS oldest
    FROM pg_stat_activity
    WHERE application_name = current_setting('application_name') AND datname = current_database()
    GROUP BY 1 ORDER BY 1";
