//! The outbox: invalidations that the shared tiers have not confirmed, and batches whose outcome is not
//! known, on record in the disk folder, so that the next process on it goes on with them.
//!
//! Records of their own length, each with a checksum. A record that ends with the file was being
//! written when the process was killed: its call has not returned, nothing was sent, it does not count.
//! Any other damage means that something unsent may be missing, so everything is invalidated.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Change, Effect, change};
use crate::hash::checksum;

/// See the module. A folder that cannot be written is reported once and costs the record, no more.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    file: File,
    bytes: usize,
    /// What is on record and not done, as it was written.
    live: BTreeMap<(u8, u64), Vec<u8>>,
    live_bytes: usize,
    last_id: u64,
    unsynced: bool,
    /// Nothing is written any more.
    failed: bool,
    unsent: Vec<Unsent>,
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsent {
    pub(super) id: u64,
    pub(super) intent: Option<u64>,
    pub(super) changes: Vec<Change>,
}

impl Outbox {
    /// Opens the record in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("outbox.log");
        let found = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (live, damaged) = parse(&found);
        if damaged {
            tracing::warn!("record of unsent invalidations damaged: everything is invalidated");
        }
        let unsent = unsent(&live, damaged);
        let mut state = State {
            file: open(&path)?,
            path,
            bytes: found.len(),
            live_bytes: 0,
            last_id: live.keys().map(|(_, id)| *id).max().unwrap_or_default(),
            live,
            unsynced: false,
            failed: false,
            unsent,
        };
        if damaged {
            // On record before the damaged file goes.
            state.live =
                BTreeMap::from([((UNSENT, 0), change::encode(&[Change::all(Effect::Remove)]))]);
        }
        // Without what is done, and without the torn end, behind which nothing could be found.
        state.rewrite()?;
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// Puts an invalidation on record, before anybody is told of it.
    pub(super) fn add(&self, id: u64, changes: &[Change]) {
        self.put(UNSENT, id, changes);
    }

    /// The shared tiers have confirmed it.
    pub(super) fn done(&self, id: u64) {
        self.take(UNSENT, id);
    }

    /// Puts a batch on record whose outcome is about to be decided elsewhere.
    pub(super) fn prepare(&self, intent: u64, changes: &[Change]) {
        self.put(INTENT, intent, changes);
    }

    /// The outcome of the batch is known, and has been acted upon.
    pub(super) fn complete(&self, intent: u64) {
        self.take(INTENT, intent);
    }

    /// What an earlier process left, once.
    pub(super) fn take_unsent(&self) -> Vec<Unsent> {
        std::mem::take(&mut self.lock().unsent)
    }

    /// Numbers of earlier processes end here.
    pub(super) fn last_id(&self) -> u64 {
        self.lock().last_id
    }

    /// Whether [`upkeep`](Self::upkeep) has something to do.
    pub(super) fn wants_upkeep(&self) -> bool {
        let state = self.lock();
        !state.failed && (state.too_long() || state.unsynced && !state.live.is_empty())
    }

    /// Shortens the record, and sees it to the disk. Blocks for as long as that takes.
    pub(super) fn upkeep(&self) {
        let mut state = self.lock();
        if state.failed {
            return;
        }
        let result = if state.too_long() {
            state.rewrite()
        } else {
            Ok(())
        };
        // What has been unsent for a while survives a crash of the whole system too.
        state.unsynced = false;
        let file = state.file.try_clone();
        state.check(result);
        drop(state);
        if let Ok(file) = file {
            let _ = file.sync_data();
        }
    }

    /// Sees the record to the disk, and puts nothing more on it: the folder may be another's.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.failed, true)
            && let Err(error) = state.file.sync_all()
        {
            tracing::warn!(%error, "record of unsent invalidations not closed");
        }
    }

    fn put(&self, kind: u8, id: u64, changes: &[Change]) {
        let mut state = self.lock();
        let body = change::encode(changes);
        let result = state.append(&record(kind, id, &body));
        state.live_bytes += FRAME + body.len();
        if let Some(before) = state.live.insert((kind, id), body) {
            state.live_bytes -= FRAME + before.len();
        }
        state.check(result);
    }

    fn take(&self, kind: u8, id: u64) {
        let mut state = self.lock();
        let Some(body) = state.live.remove(&(kind, id)) else {
            return;
        };
        state.live_bytes -= FRAME + body.len();
        let result = if state.failed {
            Ok(())
        } else if state.live.is_empty() && state.bytes >= SHORT_BYTES {
            state.clear()
        } else {
            state.append(&record(kind | DONE, id, &[]))
        };
        state.check(result);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, record: &[u8]) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        self.bytes += record.len();
        self.unsynced = true;
        self.file.write_all(record)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.bytes = 0;
        Ok(())
    }

    fn too_long(&self) -> bool {
        self.bytes >= LONG_BYTES && self.bytes >= 4 * self.live_bytes
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for ((kind, id), body) in &self.live {
            bytes.extend(record(*kind, *id, body));
        }
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&new)?;
        file.write_all(&bytes)?;
        fs::rename(&new, &self.path)?;
        self.file = file;
        self.bytes = bytes.len();
        self.live_bytes = bytes.len();
        Ok(())
    }

    fn check(&mut self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.failed
        {
            self.failed = true;
            tracing::error!(%error, "unsent invalidations are no longer put on record");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).open(path)
}

/// Length, its complement, kind, number, body, checksum: a length that is damaged is told from one
/// that reaches beyond a torn end.
fn record(kind: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(FRAME + body.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.push(kind);
    bytes.extend(id.to_le_bytes());
    bytes.extend(body);
    let sum = checksum(&[&bytes]);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// The bodies that are not done, and whether any but a torn last record is damaged.
fn parse(mut bytes: &[u8]) -> (BTreeMap<(u8, u64), Vec<u8>>, bool) {
    let mut live = BTreeMap::new();
    while let Some((lengths, _)) = bytes.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *lengths;
        let length = u32::from_le_bytes([a, b, c, d]);
        if u32::from_le_bytes([e, f, g, h]) != !length {
            return (live, true);
        }
        let Some((one, rest)) = bytes.split_at_checked(FRAME + length as usize) else {
            break;
        };
        let (kind, body) = (one[8], &one[HEAD..HEAD + length as usize]);
        let mut id = [0; 8];
        id.copy_from_slice(&one[9..HEAD]);
        let id = u64::from_le_bytes(id);
        if record(kind, id, body) != one {
            return (live, true);
        }
        if kind & DONE == 0 {
            live.insert((kind, id), body.to_vec());
        } else {
            live.remove(&(kind & !DONE, id));
        }
        bytes = rest;
    }
    (live, false)
}

fn unsent(live: &BTreeMap<(u8, u64), Vec<u8>>, damaged: bool) -> Vec<Unsent> {
    let all = || vec![Change::all(Effect::Remove)];
    if damaged {
        return vec![Unsent {
            id: 0,
            intent: None,
            changes: all(),
        }];
    }
    let live = live.iter().map(|((kind, id), body)| Unsent {
        id: *id,
        intent: (*kind == INTENT).then_some(*id),
        changes: change::decode(body).unwrap_or_else(all),
    });
    live.collect()
}

const UNSENT: u8 = 1;
const INTENT: u8 = 2;
const DONE: u8 = 0x80;
const HEAD: usize = 17;
const FRAME: usize = HEAD + 8;
/// An empty record below this is left as it is.
const SHORT_BYTES: usize = 64 << 10;
/// A record below this is not worth rewriting.
const LONG_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Outbox, Unsent};
    use crate::{
        coherence::{Change, Effect},
        tier::EntryKey,
    };

    fn change(hash: u64) -> Change {
        let entry = EntryKey {
            cache: "users".into(),
            hash,
            text: format!("key {hash}").into(),
        };
        Change::key(3, hash, Effect::Remove, Some(entry))
    }

    fn left(folder: &std::path::Path) -> Vec<Unsent> {
        Outbox::open(folder)
            .expect("a writable folder")
            .take_unsent()
    }

    #[test]
    fn what_is_not_done_is_found_by_the_next_process() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outbox = Outbox::open(folder.path()).expect("a writable folder");
        assert_eq!(outbox.take_unsent(), []);
        outbox.add(1, &[change(10), Change::tag(4, Effect::Expire)]);
        outbox.add(2, &[change(20)]);
        outbox.prepare(
            2,
            &[
                Change::all(Effect::Remove),
                Change::cache(9, Effect::Expire),
            ],
        );
        outbox.done(2);
        drop(outbox);
        let expected = [
            Unsent {
                id: 1,
                intent: None,
                changes: vec![change(10), Change::tag(4, Effect::Expire)],
            },
            Unsent {
                id: 2,
                intent: Some(2),
                changes: vec![
                    Change::all(Effect::Remove),
                    Change::cache(9, Effect::Expire),
                ],
            },
        ];
        assert_eq!(left(folder.path()), expected);
        assert_eq!(
            left(folder.path()),
            expected,
            "until somebody says that it is done"
        );
        let outbox = Outbox::open(folder.path()).expect("a writable folder");
        assert_eq!(outbox.last_id(), 2);
        outbox.done(1);
        outbox.complete(2);
        drop(outbox);
        assert_eq!(left(folder.path()), []);
    }

    /// Goal: a kill at any byte loses at most the record that was being written; other damage loses
    /// nothing. Method: every cut, then every flipped byte, of a file of three records.
    #[test]
    fn a_torn_end_is_left_out_and_any_other_damage_is_everything() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("outbox.log");
        let outbox = Outbox::open(folder.path()).expect("a writable folder");
        let mut ends = vec![0];
        for id in 1..=3 {
            outbox.add(id, &[change(id)]);
            ends.push(fs::read(&path).expect("readable").len());
        }
        drop(outbox);
        let whole = fs::read(&path).expect("readable");
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).expect("writable");
            let complete = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(left(folder.path()).len(), complete, "cut at {cut}");
        }
        let everything = vec![Change::all(Effect::Remove)];
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("writable");
            let unsent = left(folder.path());
            assert!(
                unsent.iter().any(|unsent| unsent.changes == everything),
                "flipped at {at}"
            );
            assert_eq!(left(folder.path()), unsent, "still so when killed again");
        }
    }

    #[test]
    fn the_record_stays_short_however_much_passes_through_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let outbox = Outbox::open(folder.path()).expect("a writable folder");
        outbox.add(1, &[change(1)]);
        for id in 2..20_000 {
            outbox.add(id, &[change(id)]);
            outbox.done(id);
        }
        assert!(outbox.wants_upkeep());
        outbox.upkeep();
        assert!(!outbox.wants_upkeep());
        let length = |folder: &std::path::Path| {
            fs::metadata(folder.join("outbox.log"))
                .expect("there")
                .len()
        };
        assert!(length(folder.path()) < 1_000);
        outbox.done(1);
        for id in 20_000..22_000 {
            outbox.add(id, &[change(id)]);
            outbox.done(id);
        }
        assert!(length(folder.path()) < 70_000, "empty each time");
        drop(outbox);
        assert_eq!(left(folder.path()), []);
    }
}
