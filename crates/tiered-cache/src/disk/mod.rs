//! The disk tier: foyer's block engine for the bytes, a log of our own for what was invalidated.
//!
//! foyer alone may bring removed values back: from its write queue, when it drops a newer version,
//! and after a restart. So nothing of it is served before its version was checked against the
//! floors, and the floors outlive the process in the log.

mod config;
mod engine;
pub(crate) mod folder;
mod queue;
mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod tier;
mod writer;

pub use config::DiskConfig;
pub(crate) use folder::Folder;
pub(crate) use tier::DiskTier;
