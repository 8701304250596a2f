//! The part of the folder that foyer uses: its lock, whether the blocks in it may be used, and whether
//! it can be written.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::config::Geometry;
use crate::error::BuildError;

/// The blocks' part of the folder, locked until the last write to it has ended, which may be later than
/// the invalidation log, with a lock of its own, is closed.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Makes the folder if need be and takes it for this process.
    ///
    /// # Errors
    /// [`BuildError::Folder`] if it cannot be written, [`BuildError::FolderInUse`] if another process,
    /// or another `Caches` of this one, has it.
    pub(crate) async fn take(path: &Path) -> Result<Self, BuildError> {
        let owned = path.to_owned();
        // CANCEL: dropped here, the lock is given back when the blocking task ends.
        let taken = tokio::task::spawn_blocking(move || Self::take_blocking(owned)).await;
        taken.map_err(|error| BuildError::Folder {
            path: path.into(),
            source: error.into(),
        })?
    }

    fn take_blocking(path: PathBuf) -> Result<Self, BuildError> {
        let lock = fs::create_dir_all(&path).and_then(|()| {
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(false);
            options.open(path.join("blocks.lock"))
        });
        let unusable = |path, error: io::Error| BuildError::Folder {
            path,
            source: error.into(),
        };
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) => return Err(unusable(path, error)),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                lock: Mutex::new(Some(lock)),
            }),
            Err(TryLockError::WouldBlock) => Err(BuildError::FolderInUse { path }),
            Err(TryLockError::Error(error)) => Err(unusable(path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn blocks(&self) -> PathBuf {
        self.path.join("blocks")
    }

    /// Throws away the blocks that must not be used: of a folder whose log is not trusted, for nothing
    /// tells which of them were invalidated, and of another layout. Blocking.
    pub(super) fn prepare(&self, trusted: bool, geometry: Geometry) -> io::Result<()> {
        let layout = format!("{LAYOUT}\nblock {}\n", geometry.block);
        let known =
            fs::read(self.path.join("layout")).is_ok_and(|bytes| bytes == layout.as_bytes());
        if !(trusted && known) {
            self.wipe()?;
            fs::write(self.path.join("layout"), layout)?;
        }
        self.trim(geometry.capacity / geometry.block)
    }

    fn wipe(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.blocks()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the block files beyond the capacity: they would take space, and come back as they are
    /// should the capacity be raised again.
    fn trim(&self, blocks: usize) -> io::Result<()> {
        let files = match fs::read_dir(self.blocks()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let file = file?;
            let name = file.file_name();
            let number = name.to_string_lossy();
            let number = number
                .rsplit('-')
                .next()
                .and_then(|end| end.parse::<usize>().ok());
            if number.is_some_and(|number| number >= blocks) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Writes that many bytes beside the blocks and takes them away again, to learn whether it can be
    /// done and, if not, why. Blocking.
    pub(super) fn probe(&self, bytes: usize) -> io::Result<()> {
        let path = self.path.join("probe");
        let written = File::create(&path).and_then(|mut file| {
            let zeros = vec![0; bytes];
            file.write_all(&zeros)
        });
        let removed = fs::remove_file(&path);
        written.and(removed)
    }

    /// Gives the folder to the next one.
    pub(super) fn release(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        *lock = None;
    }
}

/// Raised whenever foyer's format or our use of it changes.
const LAYOUT: &str = "tiered-cache blocks 1";
