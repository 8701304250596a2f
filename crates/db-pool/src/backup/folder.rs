//! The folder of the copies: their names, what is written half, and what is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::BackupError;
use super::manifest::{Backup, Manifest, TableRows, checksum, manifest_path};

/// The copies of one pool in one folder: `NAME-20261121T204500Z.ENDING`.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The pool, as it is called.
    pool: String,
    /// What the names of the copies begin with; not of this pool's alone, as others may differ in what a file cannot
    /// be called.
    prefix: String,
    ending: &'static str,
}

impl Folder {
    pub(super) fn new(path: &Path, name: &str, ending: &'static str) -> Self {
        // A pool may be called anything; a file may not.
        let safe = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' => letter,
            _ => '_',
        };
        Self {
            path: path.to_owned(),
            pool: name.to_owned(),
            prefix: format!("{}-", name.chars().map(safe).collect::<String>()),
            ending,
        }
    }

    /// A place for a copy that is being written; removed unless it is finished.
    ///
    /// What processes that were killed have left half-written for longer than `limit` goes first.
    pub(super) async fn partial(
        &self,
        now: SystemTime,
        limit: Duration,
    ) -> Result<Partial, BackupError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.make_partial(now, limit))
            .await
            .map_err(|_| BackupError::Interrupted)?
    }

    fn make_partial(&self, now: SystemTime, limit: Duration) -> Result<Partial, BackupError> {
        let folder = &self.path;
        std::fs::create_dir_all(folder).map_err(BackupError::io("create the folder", folder))?;
        self.sweep(now, limit)
            .map_err(BackupError::io("tidy up", folder))?;
        let stamp = humantime::format_rfc3339_seconds(now).to_string();
        let stamp: String = stamp.chars().filter(|sign| !"-:".contains(*sign)).collect();
        let name = format!("{}{stamp}.{}", self.prefix, self.ending);
        let path = folder.join(format!("{name}{PARTIAL}"));
        let in_use = || BackupError::TargetInUse {
            target: path.display().to_string(),
            problem: "is being written, or was within this second".to_owned(),
        };
        // Only one copy a second can have this name, and it is nobody else's to read. Both databases write into an
        // empty file.
        create(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => in_use(),
            _ => BackupError::io("write", &path)(error),
        })?;
        let partial = Partial {
            path: path.clone(),
            target: folder.join(name),
            pool: self.pool.clone(),
        };
        // Looked at once the name is ours: whoever had it before has finished or given up.
        if partial.target.exists() {
            return Err(in_use());
        }
        Ok(partial)
    }

    fn sweep(&self, now: SystemTime, limit: Duration) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let left = name.to_str().and_then(|name| name.strip_suffix(PARTIAL));
            if left.is_some_and(|name| self.names(name))
                && let Ok(age) = now.duration_since(entry.metadata()?.modified()?)
                && age > limit
            {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The complete copies, the newest first.
    pub(super) async fn list(&self) -> Result<Vec<Backup>, BackupError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.read())
            .await
            .map_err(|_| BackupError::Interrupted)?
    }

    fn read(&self) -> Result<Vec<Backup>, BackupError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(BackupError::io("read", &self.path)(error)),
        };
        let mut copies = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BackupError::io("read", &self.path))?;
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| self.names(name));
            if ours
                && let Some(manifest) = read_manifest(&entry.path())
                && manifest.pool == self.pool
            {
                copies.push(Backup::new(entry.path(), manifest));
            }
        }
        // The names sort by time.
        copies.sort_by(|one, other| other.path().cmp(one.path()));
        Ok(copies)
    }

    /// Whether a copy of this pool may be called so; one of another may, too.
    fn names(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_suffix(self.ending)?.strip_suffix('.'))
            .is_some_and(|stamp| {
                stamp.len() == "20261121T204500Z".len()
                    && stamp
                        .bytes()
                        .all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte))
            })
    }
}

/// `None` for a copy without one, which is none.
fn read_manifest(copy: &Path) -> Option<Manifest> {
    let text = std::fs::read(manifest_path(copy)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What is added to the name of a copy that is being written.
const PARTIAL: &str = ".partial";

/// A copy that is being written; removed on drop unless it is finished.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    target: PathBuf,
    pool: String,
}

impl Partial {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings it to the disk, writes down what is known of it, and gives it its name; blocks.
    pub(super) fn finish(
        self,
        mut tables: Vec<TableRows>,
        backend: &str,
        taken_at: SystemTime,
    ) -> Result<Backup, BackupError> {
        tables.sort();
        let (bytes, sha256) = checksum(&self.path).map_err(BackupError::io("read", &self.path))?;
        let manifest = Manifest {
            pool: self.pool.clone(),
            backend: backend.to_owned(),
            taken_at: humantime::format_rfc3339_seconds(taken_at).to_string(),
            bytes,
            sha256,
            tables,
        };
        let about = manifest_path(&self.target);
        // Of a copy that never got its name.
        let _ = std::fs::remove_file(&about);
        let write = || -> io::Result<()> {
            File::open(&self.path)?.sync_all()?;
            let mut file = create(&about)?;
            file.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
            file.sync_all()?;
            // The copy last: a manifest without a copy is nobody's.
            std::fs::rename(&self.path, &self.target)?;
            sync_folder(&self.target)
        };
        if let Err(error) = write() {
            if !self.target.exists() {
                let _ = std::fs::remove_file(&about);
            }
            return Err(BackupError::io("write", &self.target)(error));
        }
        Ok(Backup::new(self.target.clone(), manifest))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `finish` there is nothing; otherwise whatever was written goes, as far as it can.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A new file that only its owner reads; fails if there is one.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a rename in the folder of `path` outlive a power failure.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_pool_are_copies() {
        let folder = Folder::new(Path::new("x"), "main/1", "db");
        assert!(folder.names("main_1-20261121T204500Z.db"));
        for other in [
            "main_1-20261121T204500Z.db.json",
            "main_1-20261121T204500Z.db.partial",
            "main_1-20261121T204500Z.dump",
            "main_1-.db",
            "main_1-2026-11-21T20:45.db",
            "main_12-20261121T204500Z.db",
            "other-20261121T204500Z.db",
            ".db",
        ] {
            assert!(!folder.names(other), "{other}");
        }
    }
}
