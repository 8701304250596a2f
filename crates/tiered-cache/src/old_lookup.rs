//! What a read found, and where.

use std::{fmt, sync::Arc};

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
}

impl TierKind {
    /// The name used in metrics and statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for TierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer to one read; values are shared, so cloning it never clones a `V`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lookup<V> {
    /// A tier had the value.
    Hit {
        /// The value.
        value: Arc<V>,
        /// The tier that had it.
        tier: TierKind,
    },
    /// The loader gave the value.
    Loaded {
        /// The value.
        value: Arc<V>,
    },
    /// No tier has it, and the loader (if there was one) said that there is none.
    Miss,
}

impl<V> Lookup<V> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&Arc<V>> {
        match self {
            Self::Hit { value, .. } | Self::Loaded { value } => Some(value),
            Self::Miss => None,
        }
    }

    /// The value, if there is one, without touching its count.
    pub fn into_value(self) -> Option<Arc<V>> {
        match self {
            Self::Hit { value, .. } | Self::Loaded { value } => Some(value),
            Self::Miss => None,
        }
    }

    /// The tier that had the value; `None` when it was loaded or there is none.
    pub fn tier(&self) -> Option<TierKind> {
        match self {
            Self::Hit { tier, .. } => Some(*tier),
            Self::Loaded { .. } | Self::Miss => None,
        }
    }

    /// Whether a tier had the value.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit { .. })
    }
}

// By hand: a derive would ask for `V: Clone`.
impl<V> Clone for Lookup<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Hit { value, tier } => Self::Hit {
                value: Arc::clone(value),
                tier: *tier,
            },
            Self::Loaded { value } => Self::Loaded {
                value: Arc::clone(value),
            },
            Self::Miss => Self::Miss,
        }
    }
}

impl From<TierKind> for crate::cached::TierKind {
    fn from(kind: TierKind) -> Self {
        match kind {
            TierKind::Memory => Self::Memory,
            TierKind::Redis => Self::Redis,
            TierKind::Disk => Self::Disk,
        }
    }
}
