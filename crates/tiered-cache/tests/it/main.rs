//! The contract of tiered-cache, one module per behaviour.

mod advice;
mod ahead;
mod batches;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "disk")]
mod disk_restart;
mod events;
mod examples;
mod interleavings;
mod invalidation;
mod limits;
#[cfg(feature = "macros")]
mod macros;
mod many;
mod memory;
mod policies;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_cable;
#[cfg(feature = "redis")]
mod redis_coherence;
#[cfg(feature = "redis")]
mod redis_faults;
#[cfg(feature = "redis")]
mod redis_group;
#[cfg(feature = "redis")]
mod redis_lease;
#[cfg(feature = "redis")]
mod redis_server;
#[cfg(feature = "redis")]
mod redis_tracking;
mod shelf;
mod single_flight;
mod stats;
mod warm;
