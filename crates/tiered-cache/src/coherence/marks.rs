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

/// The latest few floors each by itself, all older ones as one.
///
/// An invalidation that is forgotten raises the common floor, which turns away older copies of the
/// other keys too. That costs a reload, never a wrong value.
#[derive(Debug, Default)]
pub(super) struct Exact {
    pub(super) common: Marks,
    pub(super) recent: [(u64, Marks); RECENT],
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
    pub(super) fn of(&self, hash: u64) -> Marks {
        let mut marks = self.common;
        if let Some((_, own)) = self.recent.iter().find(|(own, _)| *own == hash) {
            marks.merge(*own);
        }
        marks
    }

    pub(super) fn rise(&mut self, hash: u64, marks: Marks) {
        if let Some((_, own)) = self.recent.iter_mut().find(|(own, _)| *own == hash) {
            own.merge(marks);
            return;
        }
        let oldest = self.recent.iter_mut().min_by_key(|(_, marks)| marks.age());
        let Some(oldest) = oldest else { return };
        // A replay may bring one that is older than all that are known.
        if marks.age() >= oldest.1.age() {
            let forgotten = std::mem::replace(oldest, (hash, marks)).1;
            self.common.merge(forgotten);
        } else {
            self.common.merge(marks);
        }
    }
}

/// Floors of single keys and tags per stripe.
pub(super) const RECENT: usize = 4;
