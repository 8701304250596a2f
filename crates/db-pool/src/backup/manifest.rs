//! One copy: the file, and beside it what is known about it as JSON.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::BackupError;

/// A copy of the database, complete and verified when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    path: PathBuf,
    manifest: Manifest,
}

/// What is known about a copy; lies beside it, with `.json` added to its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Manifest {
    /// The name of the pool.
    pub(super) pool: String,
    /// `sqlite` or `postgres`.
    pub(super) backend: String,
    /// As in RFC 3339.
    pub(super) taken_at: String,
    pub(super) bytes: u64,
    /// The checksum of the file, in lower-case hexadecimal digits.
    pub(super) sha256: String,
    pub(super) tables: Vec<TableRows>,
}

/// How many rows a table has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[non_exhaustive]
pub struct TableRows {
    /// Its name, with the schema on PostgreSQL.
    pub table: String,
    /// The number of its rows.
    pub rows: u64,
}

impl Backup {
    pub(super) fn new(path: PathBuf, manifest: Manifest) -> Self {
        Self { path, manifest }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When it was taken, to the second.
    pub fn taken_at(&self) -> SystemTime {
        humantime::parse_rfc3339(&self.manifest.taken_at).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.manifest.bytes
    }

    /// The SHA-256 of the file in lower-case hexadecimal digits, as `sha256sum` prints it.
    pub fn sha256(&self) -> &str {
        &self.manifest.sha256
    }

    /// The rows of each table at the moment of the copy, in the order of their names.
    pub fn tables(&self) -> &[TableRows] {
        &self.manifest.tables
    }

    /// Reads the whole file and compares size and checksum.
    pub(super) async fn verify(&self) -> Result<(), BackupError> {
        let (path, known) = (self.path.clone(), self.manifest.clone());
        tokio::task::spawn_blocking(move || {
            let (bytes, sha256) = checksum(&path).map_err(BackupError::io("read", &path))?;
            let problem = if bytes != known.bytes {
                format!("it has {bytes} bytes, not {}", known.bytes)
            } else if sha256 != known.sha256 {
                format!("its SHA-256 is {sha256}, not {}", known.sha256)
            } else {
                return Ok(());
            };
            Err(BackupError::Damaged { path, problem })
        })
        .await
        .map_err(|_| BackupError::Interrupted)?
    }

    /// Whether a restored database has the rows of this copy.
    pub(super) fn compare(&self, found: &[TableRows]) -> Result<(), BackupError> {
        let rows = |tables: &[TableRows], name: &str| {
            let table = tables.iter().find(|table| table.table == name);
            table.map_or(0, |table| table.rows)
        };
        for table in self.tables().iter().chain(found) {
            let (expected, found) = (rows(self.tables(), &table.table), rows(found, &table.table));
            if expected != found {
                return Err(BackupError::RowsDiffer {
                    table: table.table.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// The file last: without its manifest it is nobody's, but with one it must be there.
    pub(super) async fn remove(&self) -> Result<(), BackupError> {
        for path in [manifest_path(&self.path), self.path.clone()] {
            match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn for_tests(taken_at: SystemTime) -> Self {
        let manifest = Manifest {
            pool: "main".to_owned(),
            backend: "sqlite".to_owned(),
            taken_at: humantime::format_rfc3339_seconds(taken_at).to_string(),
            bytes: 0,
            sha256: String::new(),
            tables: Vec::new(),
        };
        Self::new(PathBuf::from("copy"), manifest)
    }
}

/// Where the manifest of the copy at `path` lies.
pub(super) fn manifest_path(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".json");
    path.into()
}

/// The length of a file and its SHA-256; blocks.
pub(super) fn checksum(path: &Path) -> io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 128 * 1024];
    let (mut hash, mut length) = (Sha256::new(), 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let hash = hash.finalize();
    let digits = hash.iter().map(|byte| format!("{byte:02x}"));
    Ok((length, digits.collect()))
}

impl fmt::Display for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: u64 = self.tables().iter().map(|table| table.rows).sum();
        let age = SystemTime::now()
            .duration_since(self.taken_at())
            .unwrap_or_default();
        let age = Duration::from_secs(age.as_secs());
        write!(
            f,
            "{}: {} bytes, {rows} rows in {} tables, taken {} ({} ago), verified",
            self.path.display(),
            self.bytes(),
            self.tables().len(),
            self.manifest.taken_at,
            humantime::format_duration(age),
        )
    }
}
