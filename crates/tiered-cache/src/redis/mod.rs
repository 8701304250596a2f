//! Redis: a tier of versioned values, the shared invalidation log, and leases.

mod client;
mod config;
mod layout;
mod lease;
mod link;
mod log;
mod parts;
mod scripts;
mod tier;
mod tracking;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use config::RedisConfig;
pub(crate) use lease::{Lease, LeaseGuard};
pub(crate) use link::ConnectionState;
pub(crate) use log::RedisLog;
pub(crate) use parts::RedisParts;
pub(crate) use tier::RedisTier;
