//! The scripted Redis: what its keys hold and what the scripts do with them, without any waiting.
//!
//! It has the same rules as the real scripts: one slot per key with a version and a soft floor, a
//! capped log whose ids are the versions, the last floors of tags and caches, and intents. What only
//! it can do is to lose things in every way in which a real server does.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::coherence::{Effect, Epoch, Page, Record, Target, Version};

/// A server that may be flushed, restarted, or replaced by a replica that was behind.
#[derive(Debug)]
pub(super) struct Store {
    held: Held,
    /// What was held before each of the last appends, for a failover to go back to.
    before: VecDeque<Held>,
    run: u64,
    /// The server's clock against that of the simulation.
    pub(super) skew_ms: i64,
    next_random: u64,
    losses: u64,
    /// What the store does wrong on purpose.
    pub(super) wrong: Wrong,
}

/// Rules that can be broken, to see whether the simulation notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wrong {
    #[default]
    Nothing,
    /// Readers never hear of a failover, flush or trim.
    GapsAreHidden,
    /// One in so many records is not shown to readers.
    RecordsAreSkipped,
    /// Intents never become overdue.
    IntentsAreForgotten,
    /// Loaders see the row as it was before its last commit.
    LoadsAreOld,
    /// Insertions bring the row as it was before its last commit.
    InsertionsAreOld,
}

/// What a flush takes away.
#[derive(Debug, Clone, Default)]
struct Held {
    slots: BTreeMap<String, Slot>,
    epoch: u64,
    /// The run that began the epoch.
    owner: u64,
    log: VecDeque<Record>,
    last: u64,
    trimmed: u64,
    floors: BTreeMap<(Target, bool), Version>,
    /// The floors, to expire and to remove, of what is no longer among `floors`.
    common: [Version; 2],
    intents: BTreeMap<u64, (u64, Vec<u8>)>,
}

/// A value in a slot.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) soft: Version,
    /// It was expired at `soft`.
    pub(super) stale: bool,
}

#[derive(Debug, Clone)]
struct Slot {
    version: Version,
    soft: Version,
    /// `None` is a tombstone.
    value: Option<Bytes>,
    until_ms: u64,
}

impl Store {
    pub(super) fn new(random: u64) -> Self {
        let mut store = Self {
            held: Held::default(),
            before: VecDeque::new(),
            run: 0,
            skew_ms: 0,
            next_random: random,
            losses: 0,
            wrong: Wrong::Nothing,
        };
        store.run = store.random();
        store
    }

    // === slots ===

    pub(super) fn get(&self, key: &str, now_ms: u64) -> Option<Found> {
        let slot = self.live_slot(key, now_ms)?;
        Some(Found {
            bytes: slot.value.clone()?,
            soft: slot.soft.max(slot.version),
            stale: slot.soft > slot.version,
        })
    }

    /// Writes a value unless the slot knows something newer.
    pub(super) fn fill(
        &mut self,
        key: &str,
        bytes: Bytes,
        version: Version,
        until_ms: u64,
        now_ms: u64,
    ) -> bool {
        let found = self.live_slot(key, now_ms);
        if found.is_some_and(|slot| slot.version > version || slot.soft > version) {
            return false;
        }
        let slot = Slot {
            version,
            soft: Version(0),
            value: Some(bytes),
            until_ms,
        };
        self.held.slots.insert(key.to_owned(), slot);
        true
    }

    /// Makes what is older than `version` gone, or stale.
    pub(super) fn invalidate(&mut self, key: &str, effect: Effect, version: Version, now_ms: u64) {
        let found = self.live_slot(key, now_ms).cloned();
        if found.as_ref().is_some_and(|slot| slot.version >= version) {
            return;
        }
        let soft = found.as_ref().map_or(Version(0), |slot| slot.soft);
        let slot = match (found, effect) {
            (Some(slot), Effect::Expire) if slot.value.is_some() => Slot {
                soft: soft.max(version),
                ..slot
            },
            _ => Slot {
                version,
                soft: if soft > version { soft } else { Version(0) },
                value: None,
                until_ms: now_ms + TOMBSTONE_MS,
            },
        };
        self.held.slots.insert(key.to_owned(), slot);
    }

    fn live_slot(&self, key: &str, now_ms: u64) -> Option<&Slot> {
        self.held
            .slots
            .get(key)
            .filter(|slot| slot.until_ms > now_ms)
    }

    // === the log ===

    /// Appends a record; `seen` is the highest version that the caller knows.
    pub(super) fn append(
        &mut self,
        by: u64,
        changes: &[(Target, Effect)],
        seen: Version,
        now_ms: u64,
    ) -> Version {
        self.attend(seen, now_ms);
        if self.before.len() == REMEMBERED {
            self.before.pop_front();
        }
        self.before.push_back(self.held.clone());
        let version = self.push(by, changes, seen, now_ms);
        self.trim(LOG_MAX);
        for (target, effect) in changes {
            if !matches!(target, Target::Key(_)) {
                self.raise_floor((*target, *effect == Effect::Remove), version);
            }
        }
        version
    }

    fn push(
        &mut self,
        by: u64,
        changes: &[(Target, Effect)],
        seen: Version,
        now_ms: u64,
    ) -> Version {
        let clock = (SINCE_2020_MS + now_ms).saturating_add_signed(self.skew_ms) << 12;
        let held = &mut self.held;
        held.last = (held.last + 1).max(clock).max(seen.0 + 1);
        let version = Version(held.last);
        held.log.push_back(Record {
            version,
            by,
            changes: changes.to_vec(),
        });
        version
    }

    fn raise_floor(&mut self, floor: (Target, bool), version: Version) {
        let held = &mut self.held;
        held.floors.insert(floor, version);
        if held.floors.len() > FLOORS_MAX {
            let oldest = held.floors.iter().min_by_key(|(_, version)| **version);
            if let Some(((target, removes), version)) = oldest.map(|(one, at)| (*one, *at)) {
                held.floors.remove(&(target, removes));
                let common = &mut held.common[usize::from(removes)];
                *common = version.max(*common);
            }
        }
    }

    pub(super) fn page(
        &mut self,
        after: Version,
        limit: usize,
        seen: Version,
        now_ms: u64,
    ) -> Page {
        self.attend(seen.max(after), now_ms);
        let hidden = self.wrong == Wrong::GapsAreHidden;
        let skips = self.wrong == Wrong::RecordsAreSkipped;
        let held = &self.held;
        let later = held.log.iter().filter(|record| record.version > after);
        let shown = later.filter(|record| !skips || !(record.version.0 >> 12).is_multiple_of(3));
        Page {
            epoch: match hidden {
                true => Epoch { id: 1, run: 1 },
                false => self.epoch(),
            },
            trimmed: Version(if hidden { 0 } else { held.trimmed }),
            last: Version(if hidden {
                held.last.max(after.0)
            } else {
                held.last
            }),
            records: shown.take(limit).cloned().collect(),
        }
    }

    pub(super) fn floors(&mut self, seen: Version, now_ms: u64) -> Vec<(Target, Effect, Version)> {
        self.attend(seen, now_ms);
        let effects = [Effect::Expire, Effect::Remove];
        let exact = self.held.floors.iter();
        let exact =
            exact.map(|((target, removes), at)| (*target, effects[usize::from(*removes)], *at));
        let common = effects.into_iter().zip(self.held.common);
        let common = common.filter(|(_, version)| *version > Version(0));
        exact
            .chain(common.map(|(effect, version)| (Target::All, effect, version)))
            .collect()
    }

    /// Begins a new epoch unless another one than `old` is in force.
    pub(super) fn renew(&mut self, old: Epoch, seen: Version, now_ms: u64) -> Epoch {
        self.attend(seen, now_ms);
        if self.held.epoch == old.id {
            self.begin(seen, now_ms);
        } else if self.held.last < seen.0 {
            self.push(0, &[], seen, now_ms);
        }
        self.epoch()
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch {
            id: self.held.epoch,
            run: self.run,
        }
    }

    /// Begins an epoch if a part of the log is gone, or another server answers than the one that
    /// wrote it.
    fn attend(&mut self, seen: Version, now_ms: u64) {
        if self.held.epoch == 0 || self.held.owner != self.run {
            self.begin(seen, now_ms);
        }
    }

    fn begin(&mut self, seen: Version, now_ms: u64) {
        let epoch = self.random();
        let held = &mut self.held;
        held.epoch = epoch;
        held.owner = self.run;
        held.log.clear();
        held.trimmed = 0;
        held.floors.clear();
        held.common = [Version(0); 2];
        self.push(0, &[], seen, now_ms);
    }

    // === intents ===

    pub(super) fn prepare(&mut self, intent: u64, changes: Vec<u8>, due_ms: u64, now_ms: u64) {
        self.attend(Version(0), now_ms);
        self.held.intents.insert(intent, (due_ms, changes));
    }

    pub(super) fn complete(&mut self, intent: u64) {
        self.held.intents.remove(&intent);
    }

    pub(super) fn overdue(&self, now_ms: u64) -> Vec<(u64, Vec<u8>)> {
        if self.wrong == Wrong::IntentsAreForgotten {
            return Vec::new();
        }
        let due = self.held.intents.iter();
        let due = due.filter(|(_, (due_ms, _))| *due_ms <= now_ms);
        due.map(|(intent, (_, changes))| (*intent, changes.clone()))
            .collect()
    }

    pub(super) fn intents(&self) -> usize {
        self.held.intents.len()
    }

    // === what befalls a server ===

    pub(super) fn flush(&mut self) {
        self.losses += 1;
        self.held = Held::default();
    }

    /// Comes back as another process with the same data.
    pub(super) fn restart(&mut self) {
        self.run = self.random();
    }

    /// A replica takes over that had not yet seen the last `appends` appends and what came after.
    pub(super) fn fail_over(&mut self, appends: usize) {
        self.losses += 1;
        for _ in 0..appends {
            if let Some(held) = self.before.pop_back() {
                self.held = held;
            }
        }
        self.restart();
    }

    /// How often intents may have been lost.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// Whether the log holds the record, or says that it was trimmed.
    pub(super) fn has_record(&self, version: Version) -> bool {
        let mut log = self.held.log.iter();
        version.0 <= self.held.trimmed || log.any(|record| record.version == version)
    }

    /// The last record that was trimmed.
    pub(super) fn trimmed(&self) -> Version {
        Version(self.held.trimmed)
    }

    /// Leaves the last `keep` records.
    pub(super) fn trim(&mut self, keep: usize) {
        while self.held.log.len() > keep {
            if let Some(record) = self.held.log.pop_front() {
                self.held.trimmed = record.version.0;
            }
        }
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.held.slots.keys().cloned().collect()
    }

    pub(super) fn evict(&mut self, key: &str) {
        self.held.slots.remove(key);
    }

    /// The server was short of memory and gave up a part of the log; the next script that looks at it
    /// begins another epoch.
    pub(super) fn evict_log(&mut self) {
        self.held.epoch = 0;
    }

    pub(super) fn evict_intents(&mut self) {
        self.losses += 1;
        self.held.intents.clear();
        self.held.epoch = 0;
    }

    fn random(&mut self) -> u64 {
        self.next_random = crate::hash::mix(self.next_random.wrapping_add(0x9e37_79b9));
        self.next_random | 1
    }
}

/// The clock of the simulation begins in 2026.
pub(super) const SINCE_2020_MS: u64 = 190_000_000_000;
const TOMBSTONE_MS: u64 = 24 * 3600 * 1000;
const LOG_MAX: usize = 24;
const FLOORS_MAX: usize = 4;
const REMEMBERED: usize = 6;
