//! SQLite: on the writer's own thread, in one transaction where the migrations allow it.

use diesel::migration::{Migration, MigrationConnection};
use diesel::sqlite::Sqlite as Db;
use diesel::{QueryResult, RunQueryDsl, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use super::list::{Applied, LIST, missing};
use super::{Migratable, MigrateError, Stopped};
use crate::guard::Connection;
use crate::sqlite::Sqlite;

type SyncConnection = diesel::SqliteConnection;

impl Migratable for Sqlite {
    async fn migrate(
        mut connection: Connection<Self>,
        migrations: EmbeddedMigrations,
        _pgbouncer: bool,
    ) -> Result<Vec<String>, MigrateError> {
        // Cancel-safe: the thread finishes what it has begun even if this future is dropped.
        connection
            .with_sync(move |connection| Ok(run(connection, &migrations)))
            .await
            .map_err(|_| MigrateError::Interrupted)?
    }
}

fn run(
    connection: &mut SyncConnection,
    source: &EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError> {
    let wanted = pending(connection, source)?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    if wanted
        .iter()
        .any(|migration| !migration.metadata().run_in_transaction())
    {
        return apply(connection, source);
    }
    // Looks again with the write lock in hand: a second process that waited for it finds nothing to do.
    let work =
        |connection: &mut SyncConnection| -> Result<_, Stopped> { Ok(apply(connection, source)?) };
    Ok(connection.immediate_transaction(work)?)
}

fn apply(
    connection: &mut SyncConnection,
    source: &EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError> {
    MigrationConnection::setup(connection).map_err(|error| MigrateError::List(error.into()))?;
    let mut applied = Vec::new();
    for migration in pending(connection, source)? {
        let version = migration.name().version().to_string();
        connection.run_migration(&*migration).map_err(|source| {
            let version = version.clone();
            MigrateError::Failed { version, source }
        })?;
        applied.push(version);
    }
    Ok(applied)
}

fn pending(
    connection: &mut SyncConnection,
    source: &EmbeddedMigrations,
) -> Result<Vec<Box<dyn Migration<Db>>>, MigrateError> {
    let applied: QueryResult<Vec<Applied>> = sql_query(LIST).load(connection);
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) if error.to_string().contains("no such table") => Vec::new(),
        Err(error) => return Err(MigrateError::List(error.into())),
    };
    missing(source, applied)
}
