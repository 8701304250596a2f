//! What the connections of one PostgreSQL pool have in common.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::connect::limits;
use crate::config::PoolConfig;

/// What all connections of one pool share.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) cancel_after: Duration,
    /// Behind `BEGIN`, where the session cannot hold the limits.
    pub(super) transaction_limits: Option<String>,
    /// Grows when a connection did not answer a question for its life: then others are given less time.
    pub(super) doubts: AtomicU64,
}

impl Settings {
    pub(super) fn new(config: &PoolConfig) -> Self {
        let transaction_limits = config.pgbouncer.then(|| {
            limits(config)
                .map(|(name, millis)| format!("; SET LOCAL {name} = {millis}"))
                .collect()
        });
        Self {
            cancel_after: config.cancel_after,
            transaction_limits,
            doubts: AtomicU64::new(0),
        }
    }
}
