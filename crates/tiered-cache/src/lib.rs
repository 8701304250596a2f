#![doc = include_str!("../README.md")]

/// For the code that `#[cached]` writes; no part of the public API.
#[cfg(feature = "macros")]
#[doc(hidden)]
#[path = "macros.rs"]
pub mod __private;
mod cache;
mod caches;
mod clock;
#[cfg(feature = "disk")]
mod disk;
mod envelope;
mod error;
mod flight;
mod floors;
mod hash;
mod key;
mod lookup;
mod memory;
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod stats;
mod status;
#[cfg_attr(
    not(all(feature = "redis", feature = "disk")),
    expect(
        dead_code,
        reason = "each tier reads its own part of what all are told"
    )
)]
mod tier;

pub use cache::TieredCache;
pub use caches::{Caches, CachesBuilder};
#[cfg(feature = "disk")]
pub use disk::DiskConfig;
pub use error::{BoxError, BuildError, ConfigError, LoadError};
pub use key::CacheKey;
pub use lookup::{Lookup, TierKind};
pub use policy::{Compression, Policy};
#[cfg(feature = "redis")]
pub use redis::RedisConfig;
pub use stats::{CacheStats, TierStats};
pub use status::{CachesStatus, DiskStatus, RedisStatus};
/// Makes the body of an async function the loader of a cache; see the crate documentation.
#[cfg(feature = "macros")]
pub use tiered_cache_macros::cached;
