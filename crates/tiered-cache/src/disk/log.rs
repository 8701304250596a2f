//! The invalidation log: what keeps the floors across a restart.
//!
//! A header, then records of 32 bytes, each with a checksum, appended before an invalidation
//! returns. A log that is missing, damaged in any place, of another namespace, or not closed before
//! the system went down gets a new id; entries carry the id, so all older ones are misses then.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{
    hash::{checksum, text_hash, unique},
    old_floors::{Floors, Snapshot},
    old_tier::Target,
};

/// The open log; appended to by one thread at a time.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    id: u64,
    namespace: u64,
    records: usize,
}

impl Log {
    /// Replays the log at `path` into the floors, or begins a new one (`true`). Either way it is
    /// short afterwards.
    pub(super) fn open(path: &Path, namespace: &str, floors: &Floors) -> io::Result<(Self, bool)> {
        let namespace = text_hash(namespace);
        let known = match fs::metadata(path) {
            Ok(meta) if meta.len() <= LOG_BYTES_MAX => parse(&fs::read(path)?, namespace),
            _ => None,
        };
        let fresh = known.is_none();
        if fresh && path.exists() {
            tracing::warn!("invalidation log not usable: the disk tier starts empty");
        }
        if !fresh {
            reopen(path)?;
        }
        let (id, records) = known.unwrap_or_else(|| (unique(), Vec::new()));
        for record in records {
            match record.kind {
                KEY => floors.replay_key(record.target, record.version),
                STRIPE => floors.replay_stripe(record.target, record.version),
                CACHE => floors.replay_cleared(record.target, record.version),
                _ => {}
            }
        }
        // A process that was killed may have used versions that it never came to log.
        floors.skip(UNLOGGED_MAX);
        let (file, records) = write(path, id, namespace, floors)?;
        Ok((
            Self {
                path: path.into(),
                file,
                id,
                namespace,
                records,
            },
            fresh,
        ))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn append(
        &mut self,
        target: Target<'_>,
        version: u64,
        floors: &Floors,
    ) -> io::Result<()> {
        let (kind, target) = match target {
            Target::Key { hash, .. } => (KEY, hash),
            Target::Cache { hash, .. } => (CACHE, hash),
        };
        if self.records >= 2 * floors.capacity() {
            // The floors hold this record's version already.
            (self.file, self.records) = write(&self.path, self.id, self.namespace, floors)?;
            return Ok(());
        }
        self.file.write_all(
            &Record {
                kind,
                target,
                version,
            }
            .bytes(),
        )?;
        self.records += 1;
        Ok(())
    }

    /// Says that the log is whole, and sees it to the disk.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.file.write_all(
            &Record {
                kind: CLOSED,
                target: 0,
                version: 0,
            }
            .bytes(),
        )?;
        self.file.sync_all()
    }

    /// Makes the log unusable, by whichever way still works.
    pub(super) fn discard(&self) {
        if fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    kind: u64,
    target: u64,
    version: u64,
}

impl Record {
    fn bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.target.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.version.to_le_bytes());
        let sum = checksum(&[&bytes[..24]]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; RECORD]) -> Option<Self> {
        let record = Self {
            kind: word(bytes, 0),
            target: word(bytes, 8),
            version: word(bytes, 16),
        };
        (record.bytes() == *bytes).then_some(record)
    }
}

/// The id and records of a log that can be trusted.
fn parse(bytes: &[u8], namespace: u64) -> Option<(u64, Vec<Record>)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let (id, boot) = (word(header, 8), word(header, 24));
    if *header != self::header(id, namespace, boot) {
        return None;
    }
    let (records, []) = rest.as_chunks::<RECORD>() else {
        return None;
    };
    let records = records
        .iter()
        .map(Record::parse)
        .collect::<Option<Vec<_>>>()?;
    // Nothing is synced while running: after a system crash the tail may be gone without a trace.
    let closed = records.last().is_some_and(|record| record.kind == CLOSED);
    let same_boot = boot != 0 && boot == self::boot();
    (closed || same_boot).then_some((id, records))
}

/// Takes the record of closing away, and sees that to the disk: a system crash may undo the replacement
/// of the log, and what is back then must not pass for whole.
fn reopen(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let bytes = fs::read(path)?;
    if let Some((records, last)) = bytes.split_last_chunk::<RECORD>()
        && Record::parse(last).is_some_and(|record| record.kind == CLOSED)
    {
        file.set_len(records.len() as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Writes a log that holds just the floors, and puts it in place of the old one at once.
fn write(path: &Path, id: u64, namespace: u64, floors: &Floors) -> io::Result<(File, usize)> {
    let Snapshot {
        keys,
        stripes,
        caches,
    } = floors.snapshot();
    let records = keys.len() + stripes.len() + caches.len();
    let mut bytes = Vec::with_capacity(HEADER + RECORD * records);
    bytes.extend_from_slice(&header(id, namespace, boot()));
    for (kind, floors) in [(KEY, keys), (STRIPE, stripes), (CACHE, caches)] {
        for (target, version) in floors {
            bytes.extend_from_slice(
                &Record {
                    kind,
                    target,
                    version,
                }
                .bytes(),
            );
        }
    }
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&new)?;
    file.write_all(&bytes)?;
    fs::rename(&new, path)?;
    Ok((file, records))
}

fn header(id: u64, namespace: u64, boot: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
    bytes[16..24].copy_from_slice(&namespace.to_le_bytes());
    bytes[24..32].copy_from_slice(&boot.to_le_bytes());
    let sum = checksum(&[&bytes[..32]]);
    bytes[32..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// A number for this run of the operating system; 0 where there is no way to tell.
fn boot() -> u64 {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or(0, |id| text_hash(id.trim()))
}

const MAGIC: &[u8; 8] = b"TCFLOOR1";
const HEADER: usize = 40;
const RECORD: usize = 32;
/// Far above what two records per floor take.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Between taking a version and logging it, a thread does nothing else: far more than there are threads.
const UNLOGGED_MAX: u64 = 1 << 20;

const KEY: u64 = 1;
const CACHE: u64 = 2;
const CLOSED: u64 = 3;
const STRIPE: u64 = 4;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Arc};

    use super::{HEADER, Log, header, text_hash};
    use crate::{old_floors::Floors, old_tier::Target};

    fn open(path: &Path) -> (Log, Arc<Floors>, bool) {
        let floors = Arc::new(Floors::new(8));
        let (log, fresh) = Log::open(path, "tests", &floors).expect("a writable folder");
        (log, floors, fresh)
    }

    fn target(hash: u64) -> Target<'static> {
        Target::Key { hash, entry: None }
    }

    /// Goal: after a kill no version is given twice, else what was filled under the first of the two
    /// would outlive the second. Method: a version that never comes to the log.
    #[test]
    fn a_version_that_was_never_logged_is_not_given_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("floors.log");
        let (mut log, floors, _) = open(&path);
        let version = floors.of_cache(1).raise(7, || {});
        log.append(target(7), version, &floors).expect("writable");
        floors.of_cache(1).raise(8, || {});
        let fill = floors.of_cache(1).token(9);
        drop(log);

        let (_log, floors, fresh) = open(&path);
        assert!(!fresh);
        let floors = floors.of_cache(1);
        assert!(floors.allows(9, fill), "nothing was invalidated since");
        floors.raise(9, || {});
        assert!(!floors.allows(9, fill), "older than the invalidation");
    }

    /// Goal: no log of an earlier process counts as whole once this one has begun. Method: the old
    /// file, kept by a second name, comes back under another run of the system.
    #[test]
    fn a_closed_log_that_a_system_crash_brings_back_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("floors.log");
        let (mut log, floors, _) = open(&path);
        let version = floors.of_cache(1).raise(7, || {});
        log.append(target(7), version, &floors).expect("writable");
        log.close().expect("writable");
        let id = log.id();
        let old = folder.path().join("old");
        fs::hard_link(&path, &old).expect("one file system");
        let of_another_run = |bytes: &mut [u8]| {
            bytes[..HEADER].copy_from_slice(&header(id, text_hash("tests"), 1));
        };

        let mut closed = fs::read(&old).expect("readable");
        of_another_run(&mut closed);
        fs::write(&path, &closed).expect("writable");
        assert!(!open(&path).2, "closed in another run: whole");

        let mut reopened = fs::read(&old).expect("readable");
        of_another_run(&mut reopened);
        fs::write(&path, &reopened).expect("writable");
        assert!(open(&path).2, "used since it was closed");
    }
}
