//! How replicas stay coherent: the times that decide what a silence or a crash may cost.

use std::time::Duration;

use crate::error::ConfigError;

/// The bounds of coherence between replicas; used only with a shared log (Redis).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoherenceConfig {
    /// After how long without an answer the shared log counts as silent: 10 ms to 1 hour.
    /// Default: 3 s.
    pub silent_after: Duration,
    /// How long values are still served in a silence, counted from its beginning or from their own
    /// load if that is later; up to 1 day. Default: 30 s.
    ///
    /// This is the bound on how old an invalidated value may be that a replica serves while it cannot
    /// hear of the invalidation.
    pub degraded_ttl: Duration,
    /// After how long a prepared batch whose process is gone is carried out by another, and one
    /// that was dropped invalidates again: 10 ms to 1 hour. Default: 10 s.
    pub intent_timeout: Duration,
}

impl Default for CoherenceConfig {
    fn default() -> Self {
        Self {
            silent_after: Duration::from_secs(3),
            degraded_ttl: Duration::from_secs(30),
            intent_timeout: Duration::from_secs(10),
        }
    }
}

impl CoherenceConfig {
    /// Checks every field; `build` does so as well.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fields = [
            ("coherence.silent_after", self.silent_after, SHORTEST, HOUR),
            (
                "coherence.degraded_ttl",
                self.degraded_ttl,
                Duration::ZERO,
                24 * HOUR,
            ),
            (
                "coherence.intent_timeout",
                self.intent_timeout,
                SHORTEST,
                HOUR,
            ),
        ];
        for (field, value, least, most) in fields {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::Value {
                    field,
                    value: format!("{value:?}"),
                    expected: "use 10 ms to 1 hour (`degraded_ttl`: zero to 1 day)",
                });
            }
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
