//! Marks: below which numbers and versions entries are removed or expired, for one target or for the few
//! of a stripe.

use super::{Effect, Standing, Target, Version};

/// Entries below a mark are removed or expired.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) removed: u64,
    pub(crate) expired: u64,
    pub(crate) removed_shared: Version,
    pub(crate) expired_shared: Version,
}

/// What marks that are kept across a restart belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// A key or tag.
    Hash(u64),
    /// All that a stripe has forgotten, by its index.
    Stripe(u64),
    Cache(u64),
    All,
}

/// What the floors under one hash are of, as far as it matters once they are forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

/// The latest few floors each by itself, all older ones as one for each kind.
///
/// An invalidation that is forgotten raises the common floors, which turn away older copies of the
/// other keys or tags too. That costs a reload, never a wrong value. What is in memory need not fear
/// forgotten keys that whoever invalidated them has taken out of memory himself: with one common floor
/// for all, insertions of 100,000 keys made memory forget a third of them.
#[derive(Debug, Default)]
pub(super) struct Exact {
    common: Common,
    pub(super) recent: [Recent; RECENT],
}

/// Forgotten floors, by whom they may concern.
#[derive(Debug, Default)]
struct Common {
    /// Any entry, for the sake of its key.
    keys: Marks,
    /// An entry that is in memory, for the sake of its key.
    held: Marks,
    /// Any entry, for the sake of a tag.
    tags: Marks,
}

/// The floors under one hash.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recent {
    pub(super) hash: u64,
    pub(super) marks: Marks,
    kinds: Kinds,
}

impl Kinds {
    /// A key that whoever invalidates it takes out of memory, after its floor has risen.
    pub(super) const EVICTED: Self = Self(1);
    /// A key that may still be in memory.
    pub(super) const KEY: Self = Self(2);
    pub(super) const TAG: Self = Self(4);
    /// Not known: it was kept across a restart.
    pub(super) const ANY: Self = Self(7);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<Target> for Saved {
    fn from(target: Target) -> Self {
        match target {
            Target::Key(hash) | Target::Tag(hash) => Self::Hash(hash),
            Target::Cache(cache) => Self::Cache(cache),
            Target::All => Self::All,
        }
    }
}

impl Marks {
    /// Those of one invalidation of this process.
    pub(super) fn local_only(effect: Effect, number: u64) -> Self {
        let mut marks = Self::default();
        marks.rise(effect, number, Version(0));
        marks
    }

    pub(super) fn rise(&mut self, effect: Effect, local: u64, shared: Version) {
        match effect {
            Effect::Remove => {
                self.removed = self.removed.max(local);
                self.removed_shared = self.removed_shared.max(shared);
            }
            Effect::Expire => {
                self.expired = self.expired.max(local);
                self.expired_shared = self.expired_shared.max(shared);
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.rise(Effect::Remove, other.removed, other.removed_shared);
        self.rise(Effect::Expire, other.expired, other.expired_shared);
    }

    pub(super) fn highest(self) -> u64 {
        self.removed.max(self.expired)
    }

    /// Orders marks by when they were last raised; some have risen in the shared log only.
    fn age(self) -> (u64, Version) {
        let shared = self.removed_shared.max(self.expired_shared);
        (self.highest(), shared)
    }

    pub(super) fn local(self, number: u64) -> Standing {
        standing(number < self.removed, number < self.expired)
    }

    pub(super) fn shared(self, version: Version) -> Standing {
        standing(version < self.removed_shared, version < self.expired_shared)
    }
}

fn standing(removed: bool, expired: bool) -> Standing {
    match (removed, expired) {
        (true, _) => Standing::Removed,
        (false, true) => Standing::Expired,
        (false, false) => Standing::Valid,
    }
}

impl Exact {
    /// What covers an entry by its key.
    pub(super) fn of_key(&self, hash: u64) -> Marks {
        self.with_own(self.common.keys, hash)
    }

    /// What covers an entry by its key, when it is in memory and was looked for there just now.
    pub(super) fn of_held_key(&self, hash: u64) -> Marks {
        self.with_own(self.common.held, hash)
    }

    /// What covers an entry by one of its tags.
    pub(super) fn of_tag(&self, hash: u64) -> Marks {
        self.with_own(self.common.tags, hash)
    }

    fn with_own(&self, mut marks: Marks, hash: u64) -> Marks {
        if let Some(own) = self.recent.iter().find(|own| own.hash == hash) {
            marks.merge(own.marks);
        }
        marks
    }

    /// All that was forgotten.
    pub(super) fn forgotten(&self) -> Marks {
        let mut marks = self.common.keys;
        marks.merge(self.common.tags);
        marks
    }

    /// Raises the common floors: forgets what has these marks.
    pub(super) fn forget(&mut self, marks: Marks, kinds: Kinds) {
        let common = &mut self.common;
        if kinds.has(Kinds::TAG) {
            common.tags.merge(marks);
        }
        if kinds.has(Kinds::KEY) {
            common.held.merge(marks);
        }
        if kinds.has(Kinds::KEY) || kinds.has(Kinds::EVICTED) {
            common.keys.merge(marks);
        }
    }

    pub(super) fn rise(&mut self, hash: u64, marks: Marks, kinds: Kinds) {
        if let Some(own) = self.recent.iter_mut().find(|own| own.hash == hash) {
            own.marks.merge(marks);
            own.kinds.0 |= kinds.0;
            return;
        }
        let oldest = self.recent.iter_mut().min_by_key(|own| own.marks.age());
        let Some(oldest) = oldest else { return };
        let mut forgotten = Recent { hash, marks, kinds };
        // A replay may bring one that is older than all that are known.
        if marks.age() >= oldest.marks.age() {
            std::mem::swap(oldest, &mut forgotten);
        }
        self.forget(forgotten.marks, forgotten.kinds);
    }
}

/// Floors of single keys and tags per stripe.
pub(super) const RECENT: usize = 4;
