//! diesel's list of applied migrations, compared with those that are embedded.

use std::collections::HashSet;

use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::EmbeddedMigrations;

use super::MigrateError;

/// One row of diesel's list of applied migrations.
#[derive(diesel::QueryableByName)]
pub(super) struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

/// The embedded migrations that the list lacks, in order.
pub(super) fn missing<Db: diesel::backend::Backend>(
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
pub(super) const LIST: &str = "SELECT version FROM __diesel_schema_migrations";
