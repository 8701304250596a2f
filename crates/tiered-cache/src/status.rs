//! The state of the shared parts, as a snapshot for people and for readiness checks.

use std::{fmt, time::Duration};

use serde::Serialize;

/// Whether Redis and the disk folder are there; a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CachesStatus {
    /// The Redis tier.
    pub redis: RedisStatus,
    /// The disk tier.
    pub disk: DiskStatus,
    /// What the disk tier did since it was opened.
    pub disk_use: DiskUse,
}

/// The state of the Redis tier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
#[non_exhaustive]
pub enum RedisStatus {
    /// Not configured.
    #[default]
    Off,
    /// Connected.
    Connected {
        /// Removals that Redis has not confirmed yet.
        pending_removals: usize,
    },
    /// Not connected; reads skip it, and it reconnects by itself.
    Disconnected {
        /// For how long.
        since: Duration,
        /// Removals that wait for it to come back.
        pending_removals: usize,
    },
}

/// The state of the disk tier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
#[non_exhaustive]
pub enum DiskStatus {
    /// Not configured, or closed.
    #[default]
    Off,
    /// What is in the folder is still being taken in; nothing is served yet.
    Opening,
    /// In use.
    Ok,
    /// It takes no writes, or does not answer; it is tried again by itself.
    Failing {
        /// What fails.
        reason: String,
    },
    /// Switched off after a failure; the next start begins with an empty disk tier.
    Failed {
        /// What failed.
        reason: String,
    },
}

/// What the disk tier did since it was opened; a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DiskUse {
    /// Entries that wait to be written or are being written.
    pub queued_entries: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Entries that the disk was seen to have.
    pub written: u64,
    /// Their bytes, without what the layout adds.
    pub written_bytes: u64,
    /// Entries that found no room in the queue, or that the disk did not keep.
    pub dropped: u64,
    /// Entries over the size that one may have.
    pub refused: u64,
    /// Entries that were read and could not be what was written; each is a miss.
    pub damaged: u64,
}

impl RedisStatus {
    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}

impl fmt::Display for CachesStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis {}, disk {}", self.redis, self.disk)
    }
}

impl fmt::Display for RedisStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Connected {
                pending_removals: 0,
            } => f.write_str("connected"),
            Self::Connected { pending_removals } => {
                write!(f, "connected ({pending_removals} removals pending)")
            }
            Self::Disconnected {
                since,
                pending_removals,
            } => write!(
                f,
                "disconnected for {:.1} s ({pending_removals} removals pending)",
                since.as_secs_f64()
            ),
        }
    }
}

impl fmt::Display for DiskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Opening => f.write_str("opening"),
            Self::Ok => f.write_str("ok"),
            Self::Failing { reason } => write!(f, "failing: {reason}"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}
