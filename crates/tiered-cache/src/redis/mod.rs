//! Redis: a tier of versioned values, the shared invalidation log, and leases.

mod client;
mod config;
mod layout;
mod lease;
mod link;
mod log;
mod parts;
mod reads;
mod scripts;
mod tier;
mod tracking;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

pub use config::RedisConfig;
pub(crate) use link::ConnectionState;
pub(crate) use parts::RedisParts;
