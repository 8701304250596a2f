//! The disk tier.

mod config;

pub use config::DiskConfig;
