//! Applying embedded migrations: once, whoever else tries at the same time, and on any runtime.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::collections::HashSet;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::EmbeddedMigrations;

use crate::backend::Backend;
use crate::error::AcquireError;
use crate::guard::Connection;
use crate::pool::Pool;

type BoxError = Box<dyn Error + Send + Sync>;

/// Migrations could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// No connection could be borrowed.
    #[error("no connection for migrating")]
    Acquire(#[from] AcquireError),
    /// Another process held the migration lock all the time.
    #[error("another process has been migrating for {waited:?}; see what it does, then try again")]
    Locked {
        /// How long this one waited.
        waited: Duration,
    },
    /// A migration failed; those before it stay applied on PostgreSQL, none does on SQLite unless one of them runs
    /// outside of a transaction.
    #[error("migration {version} failed")]
    Failed {
        /// The version of the migration.
        version: String,
        /// Why.
        source: BoxError,
    },
    /// The list of applied migrations could not be read or written.
    #[error("the list of applied migrations could not be read")]
    List(#[source] BoxError),
    /// The thread that was migrating panicked, or the runtime stopped.
    #[error("migrating was interrupted")]
    Interrupted,
}

/// A backend that can apply migrations; sealed like [`Backend`].
pub trait Migratable: Backend {
    #[doc(hidden)]
    fn migrate(
        connection: Connection<Self>,
        migrations: EmbeddedMigrations,
    ) -> impl Future<Output = Result<Vec<String>, MigrateError>> + Send
    where
        Self: Sized;
}

impl<B: Migratable> Pool<B> {
    /// Applies the migrations that are not applied yet, in order, and returns their versions.
    ///
    /// When nothing is pending, it only reads. Otherwise PostgreSQL migrates under an advisory lock, so that of many
    /// processes starting together one migrates and the others wait, up to a minute; it needs a session, so not
    /// PgBouncer in transaction mode. SQLite migrates inside the writer, all in one transaction unless a migration
    /// asks to run outside of one. Other connections are replaced afterwards: their cached plans are stale.
    ///
    /// Works on current-thread runtimes. Dropping the future lets a migration that has begun run to its end.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(
        &self,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrateError> {
        let applied = B::migrate(self.acquire().await?, migrations).await?;
        if !applied.is_empty() {
            self.shared().next_generation();
            tracing::info!(pool = %self.config().name, count = applied.len(), "migrations applied");
        }
        Ok(applied)
    }
}

/// One row of diesel's list of applied migrations.
#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

/// The embedded migrations that the list lacks, in order.
fn missing<Db: diesel::backend::Backend>(
    source: &EmbeddedMigrations,
    applied: Vec<Applied>,
) -> Result<Vec<Box<dyn Migration<Db>>>, MigrateError> {
    let applied: HashSet<String> = applied.into_iter().map(|row| row.version).collect();
    let mut migrations: Vec<Box<dyn Migration<Db>>> =
        source.migrations().map_err(MigrateError::List)?;
    migrations.retain(|migration| !applied.contains(&migration.name().version().to_string()));
    migrations.sort_unstable_by(|a, b| a.name().version().cmp(&b.name().version()));
    Ok(migrations)
}

/// diesel's own table, so that its command line tool sees the same.
const LIST: &str = "SELECT version FROM __diesel_schema_migrations";
