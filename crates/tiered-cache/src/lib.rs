#![doc = include_str!("../README.md")]

mod advice;
mod cache;
mod cached;
mod caches;
mod chance;
mod clock;
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
mod flight;
mod guard;
mod hash;
mod key;
mod memory;
mod policy;
#[cfg(feature = "redis")]
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
/// Makes the body of an async function the loader of a cache; see the crate documentation.
#[cfg(feature = "macros")]
pub use tiered_cache_macros::cached;
pub use warm::{WarmFailure, WarmOptions, WarmProgress, WarmReport, WarmSchedule, WarmWatch};
