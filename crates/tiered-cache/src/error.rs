//! The errors: impossible configuration, an unusable folder at build, and loads that gave no value.

use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

/// Any error a loader may return, boxed.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// A setting that can never work; the message names the field and the value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A namespace or a cache name that is empty, too long or holds other characters.
    #[error(
        "{field} {value:?} is not a usable name: take 1 to 64 of the characters A-Z a-z 0-9 . _ -"
    )]
    Name {
        /// Which setting.
        field: &'static str,
        /// What was given.
        value: String,
    },
    /// A number or duration outside its range.
    #[error("{field} = {value} cannot work: {expected}")]
    Value {
        /// Which setting.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A second cache under a name that is in use: removals through one would not reach the other.
    #[error("a cache named {name:?} exists already: clone that handle, or choose another name")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A Redis URL that cannot be used. The message never shows the URL: it may hold a password.
    #[error("redis.url cannot be used: {reason}")]
    RedisUrl {
        /// Why.
        reason: String,
    },
}

impl ConfigError {
    /// The setting that cannot work; `None` for a name that is taken.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Name { field, .. } | Self::Value { field, .. } => Some(field),
            Self::RedisUrl { .. } => Some("redis.url"),
            _ => None,
        }
    }
}

/// Why [`CachesBuilder::build`](crate::CachesBuilder::build) gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration can never work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk folder cannot be used (read-only, a file in its place, no space).
    #[error("the cache folder {} cannot be used: make it a writable folder, or choose another", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: BoxError,
    },
    /// Another process (or another `Caches`) uses the disk folder.
    #[error("the cache folder {} is in use by another process: give each its own", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
}

/// Why a load gave no value; cheap to clone, one load's error goes to all its waiters.
#[derive(Clone)]
#[non_exhaustive]
pub enum LoadError {
    /// The loader returned an error, which is [`source`](Error::source).
    Failed(Arc<dyn Error + Send + Sync + 'static>),
    /// The loader panicked; the panic itself was reported by the panic hook.
    Panicked,
    /// The loader took longer than `Policy::load_timeout` and was dropped.
    TimedOut {
        /// The limit that was reached.
        after: Duration,
    },
    /// The loader never ran: `Policy::loads_max` others were running for all of `Policy::load_timeout`.
    Overloaded,
    /// The loader said "not modified", but it was shown no value that could still hold.
    NothingToRenew,
    /// `fetch` was called on a cache without a registered loader.
    NoLoader,
    /// The task of the load went away: its runtime is shutting down, or code of the key, the value or the
    /// policy panicked in it.
    Aborted,
}

impl LoadError {
    /// The loader's own error, when it is an `E`.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => error.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the loader ran out of time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the loader failed"),
            Self::Panicked => f.write_str("the loader panicked"),
            Self::TimedOut { after } => write!(f, "the loader took longer than {after:?}"),
            Self::Overloaded => {
                f.write_str("the loader got no turn in time: raise `loads_max`, or load less")
            }
            Self::NothingToRenew => f.write_str(
                "the loader said \"not modified\", but was shown no value: return one when `stale` is `None`",
            ),
            Self::NoLoader => {
                f.write_str("the cache has no registered loader: give it one, or use `get_or_load`")
            }
            Self::Aborted => f.write_str(
                "the load was aborted: its runtime shuts down, or code of the key or value panicked",
            ),
        }
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            other => write!(f, "LoadError({other})"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            _ => None,
        }
    }
}
