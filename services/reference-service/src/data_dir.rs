//! The folder of the SQLite file: made when missing, and held by one process at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use db_pool::PoolConfig;

use crate::failure::DataError;

/// Held as long as the process works on the data; the system releases it even after a kill.
#[derive(Debug)]
pub struct DataLock {
    _file: Option<File>,
}

impl DataLock {
    /// Makes the folder of a SQLite database and takes its lock. A server's database has neither.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written, or another process holds it.
    pub fn take(pool: &PoolConfig) -> Result<Self, DataError> {
        // A URL that names no database was refused when the configuration was checked.
        let Ok(Some(database)) = pool.file() else {
            return Ok(Self { _file: None });
        };
        if let Some(folder) = database
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder).map_err(|source| DataError::Unusable {
                path: folder.to_owned(),
                source,
            })?;
        }
        let path = lock_path(&resolved(&database));
        let unusable = |source| DataError::Unusable {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse {
                what: path.display().to_string(),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

/// The file itself, whatever links lead to it; one that is still to be made lies in its folder.
fn resolved(file: &Path) -> PathBuf {
    let folder = file.parent().map(Path::canonicalize);
    match (file.canonicalize(), folder, file.file_name()) {
        (Ok(file), ..) => file,
        (Err(_), Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    database.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_holds_the_data_and_the_next_one_gets_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let url = format!("sqlite:{}/new/app.db", folder.path().display());
        let first = DataLock::take(&PoolConfig::embedded(&url)).expect("nobody holds it");
        let second = DataLock::take(&PoolConfig::embedded(&url)).expect_err("held");
        assert!(matches!(&second, DataError::InUse { what } if what.ends_with("new/app.db.lock")));
        drop(first);
        DataLock::take(&PoolConfig::embedded(&url)).expect("released");
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::write(folder.path().join("data"), "").expect("file");
        let url = format!("sqlite:{}/data/app.db", folder.path().display());
        let error = DataLock::take(&PoolConfig::embedded(&url)).expect_err("a file is in the way");
        assert!(matches!(&error, DataError::Unusable { path, .. } if path.ends_with("data")));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_file_is_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (file, link) = (folder.path().join("app.db"), folder.path().join("link.db"));
        fs::write(&file, "").expect("file");
        std::os::unix::fs::symlink(&file, &link).expect("link");
        let take = |path: &Path| DataLock::take(&PoolConfig::embedded(path.display().to_string()));
        let _held = take(&file).expect("nobody holds it");
        assert!(matches!(take(&link), Err(DataError::InUse { .. })));
    }

    #[test]
    fn a_database_server_needs_no_folder() {
        DataLock::take(&PoolConfig::web("postgres://localhost/app")).expect("nothing to lock");
    }
}
