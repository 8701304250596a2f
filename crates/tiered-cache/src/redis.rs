//! The Redis tier.

mod config;

pub use config::RedisConfig;
