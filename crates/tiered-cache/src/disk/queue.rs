//! The decision what waits for the disk, apart from the task that writes it: bounded in bytes and in
//! entries, the newest version of a key only, and nothing of a key that was removed.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::coherence::Version;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueBounds {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// What became of an offered write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It waits for the disk.
    Queued,
    /// Something newer waits, or the key was removed after this fill began.
    Outdated,
    /// There is no room now.
    Full,
}

/// What the queue knows of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Here are its newest bytes.
    Found(Bytes),
    /// It was removed, and the disk may not have heard of it yet.
    Removed,
    /// Ask the disk; the stamp is for [`WriteQueue::overtaken`].
    Ask(Stamp),
}

/// The changes of a key (and of those that share its slot) at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64);

/// One write on its way to the disk.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) hash: u64,
    pub(super) bytes: Bytes,
}

/// The writes that wait, those that the disk is working on, and the latest removals.
#[derive(Debug)]
pub(super) struct WriteQueue {
    bounds: QueueBounds,
    waiting: HashMap<u64, Waiting>,
    /// By turn: a key that is written again keeps its place, so that it cannot starve the rest.
    order: BTreeMap<u64, u64>,
    turn: u64,
    bytes: usize,
    /// `None` for one that was removed meanwhile: the disk may still hand it out.
    flushing: HashMap<u64, Option<(Bytes, Version)>>,
    /// The latest removals, one per slot: to refuse a fill that was begun before one, and a read that
    /// one overtook. What is forgotten here costs space on the disk and no more: floors decide.
    removals: Box<[Removal]>,
}

impl WriteQueue {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            waiting: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            bytes: 0,
            flushing: HashMap::new(),
            removals: vec![Removal::default(); REMOVALS].into_boxed_slice(),
        }
    }

    /// Takes the write, unless it is outdated or there is no room.
    pub(super) fn offer(&mut self, write: Write, version: Version) -> Offer {
        let Write { hash, bytes } = write;
        let removal = self.removals[slot(hash)];
        if removal.hash == hash && version < removal.version {
            return Offer::Outdated;
        }
        let newest = self.waiting.get(&hash).map(|waiting| waiting.version);
        let newest = newest.or_else(|| self.flushing.get(&hash)?.as_ref().map(|known| known.1));
        if newest.is_some_and(|newest| version < newest) {
            return Offer::Outdated;
        }
        let before = self.waiting.get(&hash).map(|waiting| waiting.bytes.len());
        let entries = self.waiting.len() + usize::from(before.is_none());
        let total = self.bytes - before.unwrap_or(0) + bytes.len();
        if entries > self.bounds.entries || total > self.bounds.bytes {
            return Offer::Full;
        }
        self.bytes = total;
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            (waiting.bytes, waiting.version) = (bytes, version);
            return Offer::Queued;
        }
        self.turn += 1;
        self.order.insert(self.turn, hash);
        let turn = self.turn;
        self.waiting.insert(
            hash,
            Waiting {
                bytes,
                version,
                turn,
            },
        );
        Offer::Queued
    }

    /// Takes away what waits or is being written under the key, and refuses fills older than
    /// `version` from now on, as long as the slot remembers.
    pub(super) fn remove(&mut self, hash: u64, version: Version) {
        self.forget(hash);
        let removal = &mut self.removals[slot(hash)];
        let version = if removal.hash == hash {
            version.max(removal.version)
        } else {
            version
        };
        (removal.hash, removal.version) = (hash, version);
    }

    /// Takes away what waits or is being written under the key: the newest version of it was lost, and
    /// the older one must not pass for it.
    pub(super) fn forget(&mut self, hash: u64) {
        if let Some(waiting) = self.waiting.remove(&hash) {
            self.order.remove(&waiting.turn);
            self.bytes -= waiting.bytes.len();
        }
        if let Some(flushing) = self.flushing.get_mut(&hash) {
            *flushing = None;
        }
        self.removals[slot(hash)].changes += 1;
    }

    pub(super) fn look(&self, hash: u64) -> Look {
        if let Some(waiting) = self.waiting.get(&hash) {
            return Look::Found(waiting.bytes.clone());
        }
        match self.flushing.get(&hash) {
            Some(Some((bytes, _))) => Look::Found(bytes.clone()),
            Some(None) => Look::Removed,
            None => Look::Ask(Stamp(self.removals[slot(hash)].changes)),
        }
    }

    /// Whether the key was removed or forgotten since the stamp was taken.
    pub(super) fn overtaken(&self, hash: u64, since: Stamp) -> bool {
        Stamp(self.removals[slot(hash)].changes) != since
    }

    /// The writes whose turn it is, as many as `cost` lets through (at least one).
    pub(super) fn take(&mut self, cost: impl Fn(usize) -> usize, limit: usize) -> Vec<Write> {
        let mut batch = Vec::new();
        let mut total = 0;
        while let Some(first) = self.order.first_entry() {
            let hash = *first.get();
            let Some(waiting) = self.waiting.get(&hash) else {
                first.remove();
                continue;
            };
            total += cost(waiting.bytes.len());
            if total > limit && !batch.is_empty() {
                break;
            }
            first.remove();
            if let Some(Waiting { bytes, version, .. }) = self.waiting.remove(&hash) {
                self.bytes -= bytes.len();
                self.flushing.insert(hash, Some((bytes.clone(), version)));
                batch.push(Write { hash, bytes });
            }
        }
        batch
    }

    /// Whether the write was removed while the disk worked on it.
    pub(super) fn removed(&self, hash: u64) -> bool {
        matches!(self.flushing.get(&hash), Some(None))
    }

    /// The disk has done with the batch.
    pub(super) fn finish(&mut self, batch: &[Write]) {
        for write in batch {
            self.flushing.remove(&write.hash);
        }
    }

    /// Nobody writes any more: what was being written is not known to be anywhere. Returns how many
    /// there were.
    pub(super) fn give_up(&mut self) -> u64 {
        let flushing = std::mem::take(&mut self.flushing);
        flushing.values().flatten().count() as u64
    }

    /// Throws away all that waits; returns the keys.
    pub(super) fn drop_all(&mut self) -> Vec<u64> {
        let hashes: Vec<u64> = std::mem::take(&mut self.order).into_values().collect();
        for hash in &hashes {
            self.forget(*hash);
        }
        hashes
    }

    /// Entries and bytes that wait or are being written.
    pub(super) fn load(&self) -> (usize, usize) {
        let flushing = self.flushing.values().flatten();
        let bytes: usize = flushing.map(|(bytes, _)| bytes.len()).sum();
        (self.waiting.len() + self.flushing.len(), self.bytes + bytes)
    }
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    version: Version,
    turn: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Removal {
    hash: u64,
    version: Version,
    changes: u64,
}

/// The hash is well mixed, so any bits do.
fn slot(hash: u64) -> usize {
    hash as usize % REMOVALS
}

/// 24 KiB.
const REMOVALS: usize = 1_024;
