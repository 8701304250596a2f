//! The local log: what keeps the floors of this process, and its place in the shared log, across a
//! restart.
//!
//! A header, then records of one length, each with a checksum, appended before an invalidation returns.
//! A log that is missing, damaged in any place, of another namespace, or not closed before the system
//! went down gets a new id; entries carry the id, so all older ones are misses then.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Effect, Floors, Marks, Position, Target,
    local_record::{Header, Record, parse},
    marks::Saved,
    outbox::Outbox,
};
use crate::{chance::Chance, error::BuildError, hash::mix};

/// The open log, with the lock on its folder, which one process uses at a time.
#[derive(Debug)]
pub(crate) struct LocalLog {
    header: Header,
    fresh: bool,
    kept: Option<Position>,
    state: Mutex<State>,
    outbox: Outbox,
    /// Cleared for good when a record cannot be written.
    good: AtomicBool,
    /// Held while the log is shortened, so that closing waits for the end of that.
    shortening: Mutex<()>,
    lock: Mutex<Option<File>>,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    file: File,
    records: usize,
    /// At how many records the log is to be rewritten.
    long: usize,
    position: Option<Position>,
    /// What was appended since a rewriting began.
    meanwhile: Option<Vec<Record>>,
    failure: Option<String>,
    closed: bool,
}

impl LocalLog {
    /// Takes the folder for this process, and brings the floors back. Blocks for as long as the folder
    /// takes.
    ///
    /// # Errors
    /// [`BuildError`]: the folder cannot be used, or another process uses it.
    pub(crate) fn open(
        folder: &Path,
        namespace: &str,
        floors: &Floors,
        chance: &Chance,
    ) -> Result<Self, BuildError> {
        let unusable = |error: io::Error| BuildError::Folder {
            path: folder.into(),
            source: error.into(),
        };
        let lock = lock_folder(folder)?;
        let path = folder.join("floors.log");
        // Floors of another table cannot be put in the places of this one.
        let owner = mix(crate::hash::text_hash(namespace) ^ floors.stripes() as u64);
        let known = match fs::metadata(&path) {
            Ok(meta) if meta.len() <= LOG_BYTES_MAX => {
                parse(&fs::read(&path).map_err(unusable)?, owner)
            }
            _ => None,
        };
        let fresh = known.is_none();
        if fresh && path.exists() {
            tracing::warn!("local invalidation log not usable: the disk tier starts empty");
        }
        if !fresh {
            reopen(&path).map_err(unusable)?;
        }
        let (id, records) = known.unwrap_or_else(|| (chance.draw() | 1, Vec::new()));
        let mut kept = None;
        for record in records {
            match record {
                Record::Mark(saved, marks) => floors.restore_saved(saved, marks),
                Record::Position(position) => kept = Some(position),
                Record::Closed => {}
            }
        }
        // A process that was killed may have used numbers that it never came to log.
        floors.skip(UNLOGGED_MAX);
        let header = Header::new(id, owner);
        let (file, records) = write(&path, &header, &snapshot(floors, kept)).map_err(unusable)?;
        Ok(Self {
            header,
            fresh,
            kept,
            state: Mutex::new(State {
                path,
                file,
                records,
                long: 2 * floors.capacity().max(1_000),
                position: kept,
                meanwhile: None,
                failure: None,
                closed: false,
            }),
            outbox: Outbox::open(folder).map_err(unusable)?,
            good: AtomicBool::new(true),
            shortening: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The name of all processes that wrote to this folder one after the other.
    pub(crate) fn id(&self) -> u64 {
        self.header.id()
    }

    /// Whether nothing that an earlier process left in the folder can be served.
    pub(crate) fn fresh(&self) -> bool {
        self.fresh
    }

    /// Whether every invalidation is on record.
    pub(crate) fn is_good(&self) -> bool {
        self.good.load(Ordering::Acquire)
    }

    /// Why it is not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Up to where the earlier process had applied the shared log.
    pub(super) fn kept(&self) -> Option<Position> {
        self.kept
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Puts an invalidation on record that has just been given `number`.
    ///
    /// One small write to the page cache: microseconds, so it is made right here. A kill of the
    /// process cannot undo it; a crash of the whole system is noticed at the next start.
    pub(super) fn mark(&self, target: Target, effect: Effect, number: u64) {
        let marks = Marks::local_only(effect, number);
        self.append(Record::Mark(Saved::from(target), marks));
    }

    /// Says that the shared log is applied up to there.
    pub(super) fn set_position(&self, position: Position) {
        let mut state = self.lock();
        if state.position.replace(position) == Some(position) {
            return;
        }
        self.append_to(&mut state, Record::Position(position));
    }

    /// Says that the log is whole, and sees it to the disk. What comes later is not on record, and the
    /// tier on the folder no longer asked.
    pub(super) fn close(&self) {
        let _shortening = hold(&self.shortening);
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        self.good.store(false, Ordering::Release);
        let closed = match state.failure {
            None => state.file.write_all(&Record::Closed.bytes()),
            Some(_) => Ok(()),
        };
        if let Err(error) = closed.and_then(|()| state.file.sync_all()) {
            tracing::warn!(%error, "local invalidation log not closed");
        }
        self.outbox.close();
    }

    /// Gives the folder back, after everything in it was closed.
    pub(super) fn release(&self) {
        *hold(&self.lock) = None;
    }

    /// Whether [`upkeep`](Self::upkeep) has something to do.
    pub(super) fn wants_upkeep(&self) -> bool {
        let long = {
            let state = self.lock();
            state.records >= state.long && state.meanwhile.is_none()
        };
        self.is_good() && long || self.outbox.wants_upkeep()
    }

    /// Shortens the log. Blocks for as long as that takes; invalidations go on meanwhile.
    pub(super) fn upkeep(&self, floors: &Floors) {
        if self.outbox.wants_upkeep() {
            self.outbox.upkeep();
        }
        let _shortening = hold(&self.shortening);
        let (path, position) = {
            let mut state = self.lock();
            if !self.is_good() || state.records < state.long || state.meanwhile.is_some() {
                return;
            }
            state.meanwhile = Some(Vec::new());
            (state.path.clone(), state.position)
        };
        // Whatever is on record by now is in the floors; what comes on record from now on is in
        // `meanwhile` too.
        let records = snapshot(floors, position);
        let written = write_new(&path, &self.header, &records);
        let mut state = self.lock();
        let meanwhile = state.meanwhile.take();
        let result = written.and_then(|(new, mut file)| {
            // None: there was too much of it.
            let Some(meanwhile) = meanwhile else {
                return Ok(());
            };
            file.write_all(&bytes_of(&meanwhile))?;
            fs::rename(new, &path)?;
            state.file = file;
            state.records = records.len() + meanwhile.len();
            Ok(())
        });
        if let Err(error) = result {
            // The old one is as good as before.
            tracing::warn!(%error, "local invalidation log not shortened");
            state.long = 2 * state.records;
        }
    }

    fn append(&self, record: Record) {
        self.append_to(&mut self.lock(), record);
    }

    fn append_to(&self, state: &mut State, record: Record) {
        if state.failure.is_some() || state.closed {
            return;
        }
        let result = if state.records >= RECORDS_MAX {
            Err(io::Error::other("it has grown beyond its bound"))
        } else {
            state.file.write_all(&record.bytes())
        };
        if let Err(error) = result {
            self.fail(state, &error);
            return;
        }
        state.records += 1;
        if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.push(record);
            if meanwhile.len() > MEANWHILE_MAX {
                state.meanwhile = None;
            }
        }
    }

    /// An invalidation that is not on record would be undone by a restart: leave no log, so that the
    /// next start takes nothing of this folder.
    fn fail(&self, state: &mut State, error: &io::Error) {
        self.good.store(false, Ordering::Release);
        if fs::remove_file(&state.path).is_err() {
            let _ = state.file.set_len(0);
        }
        tracing::error!(%error, "local invalidation log not written: the disk tier is off");
        state.failure = Some(format!("the invalidation log: {error}"));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        hold(&self.state)
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_folder(folder: &Path) -> Result<File, BuildError> {
    let unusable = |error: io::Error| BuildError::Folder {
        path: folder.into(),
        source: error.into(),
    };
    fs::create_dir_all(folder).map_err(unusable)?;
    let mut options = OpenOptions::new();
    let lock = options
        .create(true)
        .write(true)
        .truncate(false)
        .open(folder.join("lock"));
    let lock = lock.map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BuildError::FolderInUse {
            path: folder.into(),
        }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Takes the record of closing away, and sees that to the disk: a system crash may undo the replacement
/// of the log, and what is back then must not pass for whole.
fn reopen(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let last = fs::read(path)?;
    if last.ends_with(&Record::Closed.bytes()) {
        file.set_len(length - Record::BYTES as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

fn snapshot(floors: &Floors, position: Option<Position>) -> Vec<Record> {
    let marks = floors.saved().into_iter();
    let marks = marks.map(|(saved, marks)| Record::Mark(saved, marks));
    marks.chain(position.map(Record::Position)).collect()
}

/// Writes a log of just these records, and puts it in place of the old one at once.
fn write(path: &Path, header: &Header, records: &[Record]) -> io::Result<(File, usize)> {
    let (new, file) = write_new(path, header, records)?;
    fs::rename(new, path)?;
    Ok((file, records.len()))
}

fn write_new(path: &Path, header: &Header, records: &[Record]) -> io::Result<(PathBuf, File)> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&new)?;
    file.write_all(&header.bytes())?;
    file.write_all(&bytes_of(records))?;
    Ok((new, file))
}

fn bytes_of(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| record.bytes()).collect()
}

/// Far above what two records per floor take.
const LOG_BYTES_MAX: u64 = 256 << 20;
const RECORDS_MAX: usize = (LOG_BYTES_MAX as usize - Header::BYTES) / Record::BYTES - 1;
const MEANWHILE_MAX: usize = 1 << 20;

/// Between taking a number and logging it, a thread does nothing else: far more than there are threads.
const UNLOGGED_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{LocalLog, UNLOGGED_MAX};
    use crate::{
        chance::Chance,
        coherence::{
            Effect, Epoch, Floors, Position, Standing, Target, Version,
            local_record::{Header, Record},
        },
        hash::mix,
    };

    fn open(folder: &Path) -> (LocalLog, Floors) {
        let floors = Floors::new(8);
        let log = LocalLog::open(folder, "tests", &floors, &Chance::seeded(7));
        (log.expect("a writable folder"), floors)
    }

    fn raise(log: &LocalLog, floors: &Floors, target: Target, effect: Effect) -> u64 {
        let number = floors.raise(target, effect);
        log.mark(target, effect, number);
        number
    }

    fn standing(floors: &Floors, key: u64, number: u64) -> Standing {
        floors.standing(&floors.of_cache(1), key, &[], number)
    }

    #[test]
    fn floors_and_position_are_back_after_a_restart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, floors) = open(folder.path());
        assert!(log.fresh());
        let before = floors.token().local;
        let key = raise(&log, &floors, Target::Key(7), Effect::Remove);
        raise(&log, &floors, Target::Tag(9), Effect::Expire);
        raise(&log, &floors, Target::Cache(2), Effect::Expire);
        let position = Position {
            epoch: Epoch { id: 3, run: 4 },
            version: Version(55),
        };
        log.set_position(position);
        let id = log.id();
        drop(log);

        let (log, floors) = open(folder.path());
        assert!(!log.fresh());
        assert_eq!((log.id(), log.kept()), (id, Some(position)));
        assert_eq!(standing(&floors, 7, key - 1), Standing::Removed);
        assert_eq!(standing(&floors, 7, key), Standing::Valid);
        assert_eq!(standing(&floors, 8, before), Standing::Valid);
        let cache = floors.of_cache(2);
        assert_eq!(floors.standing(&cache, 1, &[], before), Standing::Expired);
        let tagged = floors.standing(&floors.of_cache(1), 1, &[9], before);
        assert_eq!(tagged, Standing::Expired);
    }

    /// Goal: after a kill no number is given twice, else what was filled under the first of the two
    /// would outlive the second. Method: a number that never comes to the log.
    #[test]
    fn a_number_that_was_never_logged_is_not_given_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, floors) = open(folder.path());
        raise(&log, &floors, Target::Key(7), Effect::Remove);
        let unlogged = floors.raise(Target::Key(8), Effect::Remove);
        drop(log);
        let (_log, floors) = open(folder.path());
        assert_eq!(standing(&floors, 9, unlogged), Standing::Valid);
        assert!(floors.raise(Target::Key(9), Effect::Remove) > unlogged + UNLOGGED_MAX / 2);
        assert_eq!(standing(&floors, 9, unlogged), Standing::Removed);
    }

    #[test]
    fn one_process_at_a_time_uses_a_folder_and_closing_ends_the_record() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, floors) = open(folder.path());
        let second = LocalLog::open(folder.path(), "tests", &floors, &Chance::seeded(8));
        assert!(matches!(second, Err(crate::BuildError::FolderInUse { .. })));
        let before = floors.token().local;
        log.close();
        raise(&log, &floors, Target::Key(7), Effect::Remove);
        assert!(!log.is_good(), "what comes after is not on record");
        log.release();
        let (_next, floors) = open(folder.path());
        assert_eq!(standing(&floors, 7, before), Standing::Valid);
        log.close();
        log.upkeep(&floors);
    }

    /// Goal: a log is trusted as a whole or not at all. Method: a log of this run of the system, cut
    /// at every byte and with every byte changed. (Where a cut falls between two records, it is the log
    /// of an earlier moment; a kill makes no cut.)
    #[test]
    fn a_log_that_is_cut_or_changed_anywhere_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("floors.log");
        let (log, floors) = open(folder.path());
        raise(&log, &floors, Target::Key(7), Effect::Remove);
        raise(&log, &floors, Target::All, Effect::Expire);
        drop(log);
        let whole = fs::read(&path).expect("readable");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("writable");
            let between =
                cut >= Header::BYTES && (cut - Header::BYTES).is_multiple_of(Record::BYTES);
            assert_eq!(open(folder.path()).0.fresh(), !between, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).expect("writable");
            assert!(open(folder.path()).0.fresh(), "changed at {at}");
        }
    }

    /// Goal: no log of an earlier process counts as whole once this one has begun. Method: the old
    /// file, kept by a second name, comes back under another run of the system.
    #[test]
    fn a_closed_log_that_a_system_crash_brings_back_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("floors.log");
        let (log, floors) = open(folder.path());
        raise(&log, &floors, Target::Key(7), Effect::Remove);
        log.close();
        let header = log.header.of_another_run();
        drop(log);
        let old = folder.path().join("old");
        fs::hard_link(&path, &old).expect("one file system");
        let another_run = |mut bytes: Vec<u8>| {
            bytes[..Header::BYTES].copy_from_slice(&header.bytes());
            bytes
        };

        let closed = another_run(fs::read(&old).expect("readable"));
        // The link keeps the old bytes: this one replaces the file, not its contents.
        fs::remove_file(&path).expect("there");
        fs::write(&path, closed).expect("writable");
        assert!(
            !open(folder.path()).0.fresh(),
            "closed in another run: whole"
        );

        fs::remove_file(&path).expect("there");
        fs::hard_link(&old, &path).expect("one file system");
        drop(open(folder.path()));
        let reopened = another_run(fs::read(&old).expect("readable"));
        fs::remove_file(&path).expect("there");
        fs::write(&path, reopened).expect("writable");
        assert!(open(folder.path()).0.fresh(), "used since it was closed");
    }

    #[test]
    fn a_log_that_cannot_be_written_leaves_none_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, floors) = open(folder.path());
        let path = folder.path().join("floors.log");
        log.lock().file = fs::File::open(&path).expect("readable, not writable");
        raise(&log, &floors, Target::Key(7), Effect::Remove);
        assert!(!log.is_good());
        assert!(
            log.failure()
                .is_some_and(|why| why.contains("invalidation log"))
        );
        drop(log);
        assert!(open(folder.path()).0.fresh());
    }

    #[test]
    fn a_shortened_log_holds_what_the_long_one_did() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (log, floors) = open(folder.path());
        let position = Position {
            epoch: Epoch { id: 3, run: 4 },
            version: Version(55),
        };
        log.set_position(position);
        for key in 0..3_000_u64 {
            raise(&log, &floors, Target::Key(mix(key % 50)), Effect::Remove);
        }
        assert!(log.wants_upkeep());
        log.upkeep(&floors);
        assert!(!log.wants_upkeep());
        let last = raise(&log, &floors, Target::Key(1), Effect::Remove);
        drop(log);
        let length = fs::metadata(folder.path().join("floors.log"))
            .expect("there")
            .len();
        assert!(length < 100 * Record::BYTES as u64);
        let (log, again) = open(folder.path());
        assert_eq!(log.kept(), Some(position));
        for key in 0..50 {
            for number in [0, last / 2, last - 60, last - 1, last] {
                assert_eq!(
                    standing(&floors, mix(key), number),
                    standing(&again, mix(key), number)
                );
            }
        }
        assert_eq!(standing(&again, 1, last - 1), Standing::Removed);
    }
}
