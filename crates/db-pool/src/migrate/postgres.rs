//! PostgreSQL: under an advisory lock, on a blocking thread, with a session that is closed afterwards.

use std::time::Duration;

use diesel::migration::{Migration, MigrationConnection};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use tokio::time::{Instant, sleep};

use super::list::{Applied, LIST, missing};
use super::{Migratable, MigrateError};
use crate::guard::Connection;
use crate::postgres::Postgres;

type Session = AsyncConnectionWrapper<Connection<Postgres>>;

impl Migratable for Postgres {
    async fn migrate(
        mut connection: Connection<Self>,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrateError> {
        // Without the lock: the usual start of a process, where nothing is pending, waits for nobody.
        if pending(&mut connection, &migrations).await?.is_empty() {
            return Ok(Vec::new());
        }
        // Cancel-safe: from here on the session is closed wherever it is dropped, which frees the lock.
        Connection::retire(&mut connection);
        lock(&mut connection).await?;
        // The closure owns the session, so a migration that has begun runs to its end even if nobody waits.
        tokio::task::spawn_blocking(move || apply(&mut Session::from(connection), &migrations))
            .await
            .map_err(|_| MigrateError::Interrupted)?
    }
}

async fn pending(
    connection: &mut Connection<Postgres>,
    source: &EmbeddedMigrations,
) -> Result<Vec<Box<dyn Migration<Pg>>>, MigrateError> {
    let list = |error: diesel::result::Error| MigrateError::List(error.into());
    let table: Exists = sql_query(LIST_EXISTS)
        .get_result(connection)
        .await
        .map_err(list)?;
    let applied: Vec<Applied> = if table.exists {
        sql_query(LIST).load(connection).await.map_err(list)?
    } else {
        Vec::new()
    };
    missing(source, applied)
}

/// Asks again and again rather than waiting inside the server, where `lock_timeout` would end the wait.
async fn lock(connection: &mut Connection<Postgres>) -> Result<(), MigrateError> {
    let list = |error: diesel::result::Error| MigrateError::List(error.into());
    // Building an index may take longer than any query of a request should.
    let settings = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";
    connection.batch_execute(settings).await.map_err(list)?;
    let started = Instant::now();
    loop {
        let question =
            sql_query("SELECT pg_try_advisory_lock($1) AS exists").bind::<BigInt, _>(LOCK);
        let answer: QueryResult<Exists> = question.get_result(connection).await;
        if answer.map_err(list)?.exists {
            return Ok(());
        }
        let waited = started.elapsed();
        if waited >= LOCK_TIMEOUT {
            return Err(MigrateError::Locked { waited });
        }
        sleep(LOCK_INTERVAL).await;
    }
}

/// Blocks; must not run on a worker of the runtime.
fn apply(session: &mut Session, source: &EmbeddedMigrations) -> Result<Vec<String>, MigrateError> {
    MigrationConnection::setup(session).map_err(|error| MigrateError::List(error.into()))?;
    let listed = diesel::RunQueryDsl::load::<Applied>(sql_query(LIST), session);
    let listed = listed.map_err(|error| MigrateError::List(error.into()))?;
    let mut applied = Vec::new();
    // Looks again with the lock in hand: another process may have migrated meanwhile.
    for migration in missing::<Pg>(source, listed)? {
        let version = migration.name().version().to_string();
        session.run_migration(&*migration).map_err(|source| {
            let version = version.clone();
            MigrateError::Failed { version, source }
        })?;
        applied.push(version);
    }
    Ok(applied)
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    exists: bool,
}

const LIST_EXISTS: &str = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS exists";

/// "db-pool" in ASCII: one lock per database, for every program that migrates through this crate.
const LOCK: i64 = 0x0064_622d_706f_6f6c;
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
