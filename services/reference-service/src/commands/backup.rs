//! `backup`: one verified copy of the database now, beside a running server or without one.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    cli::Backup,
    config::{Config, ConfigError},
    failure::{DataError, Failure},
    store::Store,
};

/// Takes a copy and says where it is; older ones beyond `database.backup.keep` go.
///
/// # Errors
///
/// No folder is named, there is no database, or the copy could not be taken; copies taken before stay.
pub async fn backup(config: &Config, options: Backup) -> Result<ExitCode, Failure> {
    let settings = &config.database.backup;
    let folder = options.to.or_else(|| settings.folder.clone());
    let folder = folder
        .ok_or_else(|| ConfigError::missing("database.backup.folder", "set it or say --to"))?;
    let pool = config.database.pool();
    // Opening it would make an empty one, whose copy would push out an older, full one.
    if let Ok(Some(path)) = pool.file()
        && !path.exists()
    {
        return Err(DataError::Missing { path }.into());
    }
    let store = Store::connect(pool).await?;
    let taken = store.back_up(settings.copies(folder)).await;
    store.close().await;
    let _ = writeln!(io::stdout(), "{}", taken?);
    Ok(ExitCode::SUCCESS)
}
