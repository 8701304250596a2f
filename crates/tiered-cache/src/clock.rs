//! One clock for all tiers: tokio's (so that tests can pause it), tied once to the calendar.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Calendar time that only moves as tokio's clock does.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    started_unix: Duration,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let started_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            started: Instant::now(),
            started_unix,
        }
    }

    /// Milliseconds since 1970; comparable across restarts, as far as the system's clock is.
    pub(crate) fn unix_ms(&self) -> u64 {
        let now = self.started_unix + self.started.elapsed();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}
