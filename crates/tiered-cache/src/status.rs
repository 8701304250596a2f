//! The state of the shared parts, as a snapshot for people and for readiness checks.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{cached::TierKind, guard::BreakerState};

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
    /// The shared invalidation log.
    pub log: LogState,
    /// How often the log could not be followed without a break (a flush, a failover, a trimmed
    /// position), so that everything of before was given up.
    pub log_gaps: u64,
    /// The breakers of the tiers below memory, in the order in which they are asked.
    pub breakers: Vec<TierBreaker>,
}

/// Whether this process hears of the invalidations of others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
#[non_exhaustive]
pub enum LogState {
    /// There is none: nothing is shared.
    #[default]
    Off,
    /// Not all of it is applied yet; shared tiers are not asked meanwhile.
    Behind,
    /// All of it is applied.
    Ok,
    /// It does not answer: values are served for `CoherenceConfig::degraded_ttl` at most.
    Silent {
        /// For how long.
        lasted: Duration,
    },
}

/// The breaker before one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TierBreaker {
    /// The tier.
    pub tier: TierKind,
    /// Whether it is asked.
    pub state: BreakerState,
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
    /// Switched off after a failure, until the next start; that one begins with an empty disk tier if it
    /// was the record of invalidations that failed.
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
        write!(f, "redis {}, disk {}", self.redis, self.disk)?;
        if !matches!(self.log, LogState::Off | LogState::Ok) {
            write!(f, ", log {}", self.log)?;
        }
        for TierBreaker { tier, state } in &self.breakers {
            match state {
                BreakerState::Closed => {}
                BreakerState::Open => write!(f, ", breaker of {tier} open")?,
                BreakerState::HalfOpen => write!(f, ", breaker of {tier} half-open")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for LogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Behind => f.write_str("behind"),
            Self::Ok => f.write_str("ok"),
            Self::Silent { lasted } => write!(f, "silent for {:.1} s", lasted.as_secs_f64()),
        }
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
