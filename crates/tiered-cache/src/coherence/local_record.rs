//! The bytes of the local log: its header and its records.

use std::fs;

use super::{Epoch, Marks, Position, Version, marks::Saved};
use crate::hash::{checksum, text_hash};

/// Whose log it is, and under which run of the operating system it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    id: u64,
    owner: u64,
    boot: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Mark(Saved, Marks),
    Position(Position),
    /// The log was closed, and seen to the disk.
    Closed,
}

impl Header {
    pub(super) const BYTES: usize = 40;

    pub(super) fn new(id: u64, owner: u64) -> Self {
        let boot = boot();
        Self { id, owner, boot }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    #[cfg(test)]
    pub(super) fn of_another_run(self) -> Self {
        Self { boot: 1, ..self }
    }

    pub(super) fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        put(&mut bytes, 8, &[self.id, self.owner, self.boot]);
        let sum = checksum(&[&bytes[..32]]);
        put(&mut bytes, 32, &[sum]);
        bytes
    }
}

impl Record {
    pub(super) const BYTES: usize = 40;

    pub(super) fn bytes(&self) -> [u8; Self::BYTES] {
        let words = match *self {
            Self::Mark(saved, marks) => {
                let (kind, place) = match saved {
                    Saved::Hash(hash) => (HASH, hash),
                    Saved::Stripe(index) => (STRIPE, index),
                    Saved::Cache(cache) => (CACHE, cache),
                    Saved::All => (ALL, 0),
                };
                [kind, place, marks.removed, marks.expired]
            }
            Self::Position(position) => {
                let Epoch { id, run } = position.epoch;
                [POSITION, id, run, position.version.0]
            }
            Self::Closed => [CLOSED, 0, 0, 0],
        };
        let mut bytes = [0; Self::BYTES];
        put(&mut bytes, 0, &words);
        let sum = checksum(&[&bytes[..32]]);
        put(&mut bytes, 32, &[sum]);
        bytes
    }

    fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let [kind, a, b, c] = [0, 8, 16, 24].map(|at| word(bytes, at));
        let marks = Marks {
            removed: b,
            expired: c,
            ..Marks::default()
        };
        let record = match kind {
            HASH => Self::Mark(Saved::Hash(a), marks),
            STRIPE => Self::Mark(Saved::Stripe(a), marks),
            CACHE => Self::Mark(Saved::Cache(a), marks),
            ALL => Self::Mark(Saved::All, marks),
            POSITION => Self::Position(Position {
                epoch: Epoch { id: a, run: b },
                version: Version(c),
            }),
            CLOSED => Self::Closed,
            _ => return None,
        };
        (record.bytes() == *bytes).then_some(record)
    }
}

/// The id and records of a log that can be trusted.
pub(super) fn parse(bytes: &[u8], owner: u64) -> Option<(u64, Vec<Record>)> {
    let (found, rest) = bytes.split_first_chunk::<{ Header::BYTES }>()?;
    let header = Header {
        id: word(found, 8),
        owner,
        boot: word(found, 24),
    };
    if *found != header.bytes() {
        return None;
    }
    let (records, []) = rest.as_chunks::<{ Record::BYTES }>() else {
        return None;
    };
    let records = records
        .iter()
        .map(Record::parse)
        .collect::<Option<Vec<_>>>()?;
    // Nothing is synced while running: after a system crash the tail may be gone without a trace.
    let closed = records.last() == Some(&Record::Closed);
    let same_boot = header.boot != 0 && header.boot == boot();
    (closed || same_boot).then_some((header.id, records))
}

fn put(bytes: &mut [u8], at: usize, words: &[u64]) {
    for (place, word) in bytes[at..].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
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

const MAGIC: &[u8; 8] = b"TCFLOOR2";

const HASH: u64 = 1;
const CACHE: u64 = 2;
const CLOSED: u64 = 3;
const STRIPE: u64 = 4;
const ALL: u64 = 5;
const POSITION: u64 = 6;
