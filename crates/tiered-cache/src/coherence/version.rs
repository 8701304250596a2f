//! Versions, tokens and what an invalidation is about.

use std::fmt;

/// A point in the order of all invalidations; later ones are greater, 0 is before all.
///
/// At most 53 bits, because Redis compares it in scripts and sorted sets, whose numbers are doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an invalidation does to entries that are older than it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// They are stale: they may still serve where the policy lets a stale value serve.
    Expire,
    /// They are never served again.
    Remove,
}

/// Where all that was known stood when a fill began; taken before anything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Token {
    /// The last invalidation that this process had applied, in its own count.
    pub(crate) local: u64,
    /// The last entry of the shared log that it had applied.
    pub(crate) shared: Version,
    /// The epoch of the log that `shared` belongs to, 0 for none: what an entry of a shared tier must
    /// name as its origin, to be written and to be served. Part of the token because a fill may outlive
    /// its epoch.
    pub(crate) origin: u64,
}

/// How an entry stands against the floors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Valid,
    /// Something that covers it was expired since its fill.
    Expired,
    /// Something that covers it was removed since its fill.
    Removed,
}

/// What an invalidation covers; hashes are the same in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    /// One key of one cache.
    Key(u64),
    /// A tag, prefix or pattern group.
    Tag(u64),
    /// All of one cache, by the hash of its name.
    Cache(u64),
    /// Everything.
    All,
}
