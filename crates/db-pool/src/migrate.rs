//! Applying embedded migrations: once, whoever else tries at the same time, and on any runtime.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod list;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use diesel_migrations::EmbeddedMigrations;

use crate::backend::Backend;
use crate::error::AcquireError;
use crate::guard::Connection;
use crate::pool::Pool;
use crate::url::BackendKind;

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
    /// Behind PgBouncer in transaction mode there is no session to hold the lock, and this migration cannot run inside
    /// a transaction either; nothing was applied. Migrate through a direct URL.
    #[error(
        "migration {version} needs a session; migrate through a URL that does not go through PgBouncer"
    )]
    NeedsSession {
        /// The version of the migration.
        version: String,
    },
    /// The thread that was migrating panicked, or the runtime stopped.
    #[error("migrating was interrupted")]
    Interrupted,
}

/// Why the transaction around all migrations was rolled back.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
enum Stopped {
    Migrate(MigrateError),
    Diesel(diesel::result::Error),
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl From<MigrateError> for Stopped {
    fn from(error: MigrateError) -> Self {
        Self::Migrate(error)
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(error)
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl From<Stopped> for MigrateError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Migrate(error) => error,
            Stopped::Diesel(error) => Self::List(error.into()),
        }
    }
}

/// A backend that can apply migrations; sealed like [`Backend`].
pub trait Migratable: Backend {
    #[doc(hidden)]
    fn migrate(
        connection: Connection<Self>,
        migrations: EmbeddedMigrations,
        pgbouncer: bool,
    ) -> impl Future<Output = Result<Vec<String>, MigrateError>> + Send
    where
        Self: Sized;
}

impl<B: Migratable> Pool<B> {
    /// Applies the migrations that are not applied yet, in order, and returns their versions.
    ///
    /// When nothing is pending, it only reads. Otherwise PostgreSQL migrates under an advisory lock, so that of many
    /// processes starting together one migrates and the others wait, up to a minute; with `pgbouncer` set, all of them
    /// in one transaction, which holds the lock. A migration that does not get a lock on a table within three seconds
    /// lets the others through and runs again, ten times in all. SQLite migrates inside the writer, all in one
    /// transaction unless a migration asks to run outside of one. PostgreSQL connections are replaced afterwards, since
    /// their cached plans are stale.
    ///
    /// Works on current-thread runtimes. Dropping the future lets a migration that has begun run to its end.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(
        &self,
        migrations: EmbeddedMigrations,
    ) -> Result<Vec<String>, MigrateError> {
        let connection = self.acquire().await?;
        let applied = B::migrate(connection, migrations, self.config().pgbouncer).await?;
        if !applied.is_empty() {
            #[cfg(feature = "query-cache")]
            self.shared().ledger.schema_changed();
            // SQLite notices by itself that a plan is stale.
            if B::KIND == BackendKind::Postgres {
                self.shared().next_generation();
            }
            tracing::info!(pool = %self.config().name, count = applied.len(), "migrations applied");
        }
        Ok(applied)
    }
}
