//! What a read gives: shared values, and where they were found.

use std::{fmt, ops::Deref, sync::Arc};

use crate::memory::Entry;

/// A value that is shared with the cache; cloning it clones a pointer, never a `V`.
pub struct Cached<V> {
    entry: Arc<Entry<V>>,
    stale: bool,
}

impl<V> Cached<V> {
    pub(crate) fn new(entry: Arc<Entry<V>>, stale: bool) -> Self {
        Self { entry, stale }
    }

    pub(crate) fn entry(&self) -> &Arc<Entry<V>> {
        &self.entry
    }

    /// Whether the value was past its time, or expired by an invalidation, when it was handed out.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// The ETag or modification time that its loader gave.
    pub fn validator(&self) -> Option<&str> {
        self.entry.meta.validator.as_deref()
    }
}

impl<V> Deref for Cached<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.entry.value()
    }
}

impl<V> AsRef<V> for Cached<V> {
    fn as_ref(&self) -> &V {
        self.entry.value()
    }
}

// By hand: a derive would ask for `V: Clone`.
impl<V> Clone for Cached<V> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.entry), self.stale)
    }
}

impl<V: fmt::Debug> fmt::Debug for Cached<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.entry.value(), f)
    }
}

impl<V: fmt::Display> fmt::Display for Cached<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.entry.value(), f)
    }
}

impl<V: PartialEq> PartialEq for Cached<V> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// The answer to one read.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Lookup<V> {
    /// A tier had a fresh value.
    Hit {
        /// The value.
        value: Cached<V>,
        /// The tier that had it.
        tier: TierKind,
    },
    /// A tier had a value past its time, which the policy lets stand in for a fresh one.
    Stale {
        /// The value.
        value: Cached<V>,
        /// The tier that had it.
        tier: TierKind,
    },
    /// The loader gave the value.
    Loaded {
        /// The value.
        value: Cached<V>,
    },
    /// It is known that there is none: the loader said so, now or within `Policy::negative_ttl`.
    Absent,
    /// No tier knows the key, and there was no loader to ask.
    Miss,
}

impl<V> Lookup<V> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&Cached<V>> {
        match self {
            Self::Hit { value, .. } | Self::Stale { value, .. } | Self::Loaded { value } => {
                Some(value)
            }
            Self::Absent | Self::Miss => None,
        }
    }

    /// The value, if there is one, without touching its count.
    pub fn into_value(self) -> Option<Cached<V>> {
        match self {
            Self::Hit { value, .. } | Self::Stale { value, .. } | Self::Loaded { value } => {
                Some(value)
            }
            Self::Absent | Self::Miss => None,
        }
    }

    /// The tier that had the value; `None` when it was loaded or there is none.
    pub fn tier(&self) -> Option<TierKind> {
        match self {
            Self::Hit { tier, .. } | Self::Stale { tier, .. } => Some(*tier),
            Self::Loaded { .. } | Self::Absent | Self::Miss => None,
        }
    }

    /// Whether a tier had a fresh value.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }

    /// Whether the value is past its time.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }
}

// By hand: a derive would ask for `V: Clone`.
impl<V> Clone for Lookup<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Hit { value, tier } => Self::Hit {
                value: value.clone(),
                tier: *tier,
            },
            Self::Stale { value, tier } => Self::Stale {
                value: value.clone(),
                tier: *tier,
            },
            Self::Loaded { value } => Self::Loaded {
                value: value.clone(),
            },
            Self::Absent => Self::Absent,
            Self::Miss => Self::Miss,
        }
    }
}

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TierKind {
    /// This process's memory.
    Memory,
    /// Redis.
    Redis,
    /// The disk folder of this process.
    Disk,
    /// A tier that was added by `CachesBuilder::tier`.
    Other,
}

impl TierKind {
    /// The name used in metrics and statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Disk => "disk",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which tiers a cache or a call uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TierSet(u8);

impl TierSet {
    /// Every tier there is.
    pub const ALL: Self = Self(0b1111);
    /// None: a read is a miss, a value is kept nowhere.
    pub const NONE: Self = Self(0);
    /// Memory alone.
    pub const MEMORY: Self = Self(1);

    /// All of these but one.
    #[must_use]
    pub const fn without(self, tier: TierKind) -> Self {
        Self(self.0 & !Self::bit(tier))
    }

    /// All of these and one more.
    #[must_use]
    pub const fn with(self, tier: TierKind) -> Self {
        Self(self.0 | Self::bit(tier))
    }

    /// Whether the tier is among these.
    pub const fn contains(self, tier: TierKind) -> bool {
        self.0 & Self::bit(tier) != 0
    }

    /// The tiers that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn bit(tier: TierKind) -> u8 {
        match tier {
            TierKind::Memory => 1,
            TierKind::Redis => 2,
            TierKind::Disk => 4,
            TierKind::Other => 8,
        }
    }
}

impl Default for TierSet {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Debug for TierSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TierKind::{Disk, Memory, Other, Redis};
        let here = [Memory, Redis, Disk, Other].into_iter();
        f.debug_set()
            .entries(here.filter(|tier| self.contains(*tier)))
            .finish()
    }
}
