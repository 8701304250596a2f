#![doc = include_str!("../README.md")]

mod advice;
mod cache;
mod cached;
mod caches;
#[allow(dead_code, reason = "filled in next")]
mod chance;
#[allow(dead_code, reason = "filled in next")]
mod clock;
#[allow(dead_code, unused_imports, reason = "filled in next")]
mod codec;
#[cfg_attr(
    not(all(feature = "redis", feature = "disk")),
    expect(
        dead_code,
        reason = "the log of replicas belongs to Redis, the record in a folder to the disk"
    )
)]
mod coherence;
#[cfg(feature = "disk")]
mod disk;
mod error;
mod events;
#[allow(dead_code, reason = "filled in next")]
mod flight;
#[allow(dead_code, unused_imports, unreachable_pub, reason = "filled in next")]
mod guard;
mod hash;
mod key;
#[allow(dead_code, unused_imports, reason = "filled in next")]
mod memory;
#[allow(dead_code, unused_imports, reason = "filled in next")]
mod policy;
#[cfg(feature = "redis")]
#[allow(dead_code, unused_imports, reason = "connected next")]
mod redis;
#[cfg(test)]
mod sim;
mod stats;
mod status;
mod tag;
mod tier;
mod warm;

pub use advice::{SizeAdvice, SizePoint};
pub use cache::{CacheBuilder, EntryRequest, LoadContext, TieredCache};
pub use cached::{Cached, Lookup, TierKind, TierSet};
pub use caches::{Caches, CachesBuilder, CoherenceConfig};
pub use codec::{Codec, Compression, Format};
pub use coherence::{Batch, Effect, Invalidation, Invalidations, PrepareError, Version};
#[cfg(feature = "disk")]
pub use disk::DiskConfig;
pub use error::{BoxError, BuildError, ConfigError, LoadError};
pub use events::{CacheEvent, CacheEvents, LoadEnd, StaleReason};
pub use guard::{BreakerConfig, BreakerState};
pub use key::CacheKey;
pub use policy::{Capacity, EntryOptions, ErrorAction, Loaded, Policy};
#[cfg(feature = "redis")]
pub use redis::RedisConfig;
pub use stats::{CacheStats, LoadTimes, TierStats};
pub use status::{CachesStatus, DiskStatus, DiskUse, LogState, RedisStatus, TierBreaker};
pub use tag::Tag;
pub use tier::{EntryKey, Sealed, Tier, TierError, TierScope};
pub use warm::{WarmFailure, WarmOptions, WarmProgress, WarmReport, WarmSchedule, WarmWatch};
/// Makes the body of an async function the loader of a cache; see the crate documentation.
#[cfg(feature = "macros")]
pub use tiered_cache_macros::cached;
