//! SQLite: on the writer's own thread, in one transaction where the migrations allow it.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::sqlite::Sqlite as Db;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};

use super::{BoxError, Migratable, MigrateError};
use crate::guard::Connection;
use crate::sqlite::Sqlite;

type Sync = diesel::SqliteConnection;

impl Migratable for Sqlite {
    async fn migrate(
        mut connection: Connection<Self>,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrateError> {
        // The thread finishes what it has begun even if this future is dropped.
        connection
            .with_sync(move |connection| Ok(run(connection, &migrations)))
            .await
            .map_err(|_| MigrateError::Interrupted)?
    }
}

fn run(connection: &mut Sync, source: &EmbeddedMigrations) -> Result<Vec<String>, MigrateError> {
    if pending(connection, source)?.is_empty() {
        return Ok(Vec::new());
    }
    let outside = pending(connection, source)?
        .iter()
        .any(|migration| !migration.metadata().run_in_transaction());
    if outside {
        return apply(connection, source);
    }
    // Takes the write lock before looking again, so that a second process waits and then finds nothing to do.
    connection.batch_execute("BEGIN IMMEDIATE").map_err(|error| list(error.into()))?;
    let result = apply(connection, source);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.batch_execute(end).map_err(|error| list(error.into()))?;
    result
}

fn apply(connection: &mut Sync, source: &EmbeddedMigrations) -> Result<Vec<String>, MigrateError> {
    let mut applied = Vec::new();
    for migration in pending(connection, source)? {
        let version = migration.name().version().to_string();
        connection
            .run_migration(&migration)
            .map_err(|source| MigrateError::Failed { version: version.clone(), source })?;
        applied.push(version);
    }
    Ok(applied)
}
