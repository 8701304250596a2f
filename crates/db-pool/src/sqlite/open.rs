//! Opening a SQLite file: where it lies, how it is set up, and what a failure means.

use std::error::Error;
use std::path::{Path, PathBuf};

use diesel::connection::{Connection, SimpleConnection};

use crate::backend::Role;
use crate::config::PoolConfig;
use crate::error::{ConfigError, ConnectError, ConnectErrorKind};
use crate::url::sqlite_file;

/// Which file to open, and how.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
#[derive(Clone, Debug)]
pub struct Target {
    path: PathBuf,
    /// What SQLite is given: the path, or a `file:` URI if the URL has parameters.
    location: String,
    busy_timeout_ms: u128,
}

impl Target {
    pub(super) fn new(config: &PoolConfig) -> Result<Self, ConfigError> {
        let (path, parameters) = sqlite_file(&config.url)?;
        // SQLite takes only paths that begin with `file:` as URIs.
        let location = match parameters {
            Some(parameters) => {
                let path = path.replace('%', "%25").replace('#', "%23");
                format!("file:{path}?{parameters}")
            }
            None if path.starts_with("file:") => format!("./{path}"),
            None => path.to_owned(),
        };
        let busy_timeout_ms = config.lock_timeout.map_or(0, |limit| limit.as_millis());
        Ok(Self {
            path: path.into(),
            location,
            busy_timeout_ms,
        })
    }

    fn shown(&self) -> String {
        format!("SQLite file {}", self.path.display())
    }

    /// What `source` means for this file.
    pub(super) fn error(&self, source: Box<dyn Error + Send + Sync>) -> ConnectError {
        let kind = classify(&source.to_string(), &self.path);
        ConnectError::with(kind, self.shown(), Some(self.path.clone()), None, source)
    }

    /// The settings of a fresh connection.
    ///
    /// `cache_size` is in KiB and per connection. `mmap_size` is address space; what is read through it counts as
    /// shared memory of the process, so it stays modest.
    fn script(&self, role: Role) -> String {
        let busy_timeout = self.busy_timeout_ms;
        let role = match role {
            Role::Writer => "",
            Role::Reader | Role::Lane => "PRAGMA query_only = ON;",
        };
        format!(
            "PRAGMA busy_timeout = {busy_timeout};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -2000;
             PRAGMA mmap_size = 33554432;
             PRAGMA journal_size_limit = 16777216;
             {role}
             SELECT count(*) FROM sqlite_schema;"
        )
    }
}

/// Opens and sets up a connection; blocks.
pub(super) fn open(target: &Target, role: Role) -> Result<diesel::SqliteConnection, ConnectError> {
    let folder = match target.path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    };
    if !folder.is_dir() {
        let kind = ConnectErrorKind::NoSuchDirectory;
        let source = format!("`{}` is no folder", folder.display());
        let path = Some(target.path.clone());
        return Err(ConnectError::with(
            kind,
            target.shown(),
            path,
            None,
            source.into(),
        ));
    }
    let mut connection = diesel::SqliteConnection::establish(&target.location)
        .map_err(|error| target.error(Box::new(error)))?;
    connection
        .batch_execute(&target.script(role))
        .map_err(|error| target.error(Box::new(error)))?;
    if role == Role::Writer {
        check_writable(&mut connection, target)?;
    }
    Ok(connection)
}

/// SQLite opens a file that it may only read, and even begins to write, without complaint; only a change tells.
fn check_writable(
    connection: &mut diesel::SqliteConnection,
    target: &Target,
) -> Result<(), ConnectError> {
    match connection.batch_execute("BEGIN IMMEDIATE; PRAGMA user_version = 0; ROLLBACK;") {
        Ok(()) => Ok(()),
        Err(error) => {
            let error = target.error(Box::new(error));
            // Another process that writes just now is no reason not to open.
            if error.kind() == ConnectErrorKind::Locked {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

/// diesel keeps SQLite's message, not its code; the messages are fixed English.
fn classify(message: &str, path: &Path) -> ConnectErrorKind {
    let has = |part| message.contains(part);
    if has("file is not a database") || has("malformed") {
        ConnectErrorKind::Corrupt
    } else if has("readonly database") {
        ConnectErrorKind::ReadOnly
    } else if has("is locked") {
        ConnectErrorKind::Locked
    } else if has("unable to open database file") || has("Unable to open the database file") {
        // The folder exists: what is missing is the right to read or create the file, unless it is a folder itself.
        if path.is_dir() {
            ConnectErrorKind::Other
        } else {
            ConnectErrorKind::ReadOnly
        }
    } else {
        ConnectErrorKind::Other
    }
}
