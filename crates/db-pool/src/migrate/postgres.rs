//! PostgreSQL: under an advisory lock, on a blocking thread, with a session that is closed afterwards.

use std::error::Error;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationConnection};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool};
use diesel::{QueryResult, QueryableByName, sql_query};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::list::{Applied, LIST, missing};
use super::{BoxError, Migratable, MigrateError, Stopped};
use crate::guard::Connection;
use crate::postgres::Postgres;

type Session = AsyncConnectionWrapper<Connection<Postgres>>;

impl Migratable for Postgres {
    async fn migrate(
        mut connection: Connection<Self>,
        migrations: EmbeddedMigrations,
        pgbouncer: bool,
    ) -> Result<Vec<String>, MigrateError> {
        // Without the lock: the usual start of a process, where nothing is pending, waits for nobody.
        if pending(&mut connection, &migrations).await?.is_empty() {
            return Ok(Vec::new());
        }
        if pgbouncer {
            let work = move || apply_at_once(&mut Session::from(connection), &migrations);
            return tokio::task::spawn_blocking(work)
                .await
                .map_err(|_| MigrateError::Interrupted)?;
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
    connection.batch_execute(SETTINGS).await.map_err(list)?;
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
        run(session, &*migration).map_err(|source| {
            let version = version.clone();
            MigrateError::Failed { version, source }
        })?;
        applied.push(version);
    }
    Ok(applied)
}

/// Runs one migration, again if it had to give way.
///
/// A change of a table waits for all who use it, and all who come later wait behind it: so it waits shortly, lets
/// them through, and tries again.
fn run(session: &mut Session, migration: &dyn Migration<Pg>) -> Result<(), BoxError> {
    let whole = migration.metadata().run_in_transaction();
    let mut attempt = 1;
    loop {
        match session.run_migration(migration) {
            Err(error) if whole && attempt < ATTEMPTS && gave_way(&*error) => {
                let version = migration.name().version().to_string();
                tracing::warn!(version, attempt, %error, "a migration had to give way; it runs again");
                attempt += 1;
                // On a thread for blocking work, where nothing else waits.
                Handle::current().block_on(sleep(PAUSE));
            }
            result => return result.map(drop),
        }
    }
}

/// Whether a lock was not granted; it keeps the message of the server only.
fn gave_way(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        let text = error.to_string();
        text.contains("lock timeout") || text.contains("deadlock detected")
    })
}

/// Without a session of its own: lock, list and migrations in one transaction. Blocks, like [`apply`].
fn apply_at_once(
    session: &mut Session,
    source: &EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = missing(source, Vec::new())?;
    let mut alone = migrations
        .iter()
        .filter(|migration| !migration.metadata().run_in_transaction());
    if let Some(migration) = alone.next() {
        let version = migration.name().version().to_string();
        return Err(MigrateError::NeedsSession { version });
    }
    let started = Instant::now();
    let work = |session: &mut Session| -> Result<_, Stopped> {
        execute(session, &SETTINGS.replace("SET ", "SET LOCAL "))?;
        let limit = format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis());
        execute(session, &limit)?;
        let locked = execute(session, &format!("SELECT pg_advisory_xact_lock({LOCK})"));
        if locked.as_ref().is_err_and(|error| gave_way(error)) {
            let waited = started.elapsed();
            return Err(MigrateError::Locked { waited }.into());
        }
        locked?;
        execute(
            session,
            &format!("SET LOCAL lock_timeout = {DDL_LOCK_TIMEOUT_MS}"),
        )?;
        Ok(apply(session, source)?)
    };
    Ok(diesel::Connection::transaction(session, work)?)
}

fn execute(session: &mut Session, sql: &str) -> QueryResult<()> {
    SimpleConnection::batch_execute(session, sql)
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

/// Building an index may take longer than any statement of a request should; waiting for a lock may not.
const SETTINGS: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET lock_timeout = 3000";
const DDL_LOCK_TIMEOUT_MS: u32 = 3000;
/// How often a migration is run that has to give way.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
