//! Replicas: one primary and its followers, watched, balanced and failed over.
//!
//! Knowledge and decisions are plain values that take `now` ([`servers`] and what it is made of); around them are one
//! watcher per server, the lanes that measure, and the handle.

mod answer;
mod ban;
mod config;
mod connection;
mod core;
mod handle;
mod lag;
mod lane;
mod latency;
mod metrics;
mod read;
mod role;
mod servers;
mod status;
mod unplaced;
mod watch;
mod write;

pub use self::config::{PrimaryReads, ReplicasConfig, Server};
pub use self::connection::PrimaryConnection;
pub use self::handle::Replicas;
pub use self::lane::ReplicaLane;
pub use self::status::{ReplicasStatus, ServerRole, ServerStatus};
pub(crate) use self::unplaced::Unplaced;
pub(crate) use self::watch::Line;
