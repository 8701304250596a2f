//! What the Redis tier needs to know.

use std::{fmt, time::Duration};

use super::client;
use crate::error::ConfigError;

/// How to reach Redis; every field has a default.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, or `redis-sentinel://` with fred's query
    /// parameters; `rediss://` needs the feature `redis-tls`. Default: `redis://127.0.0.1:6379`.
    pub url: String,
    /// How long one command may take before it counts as an error; a read then falls through to
    /// the next tier. Default: 100 ms.
    pub command_timeout: Duration,
    /// How long `build` waits for the first connection before it goes on without. Default: 250 ms.
    pub connect_grace: Duration,
    /// How long one attempt to connect may take. Default: 2 s.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts; they go on for ever. Default: 5 s.
    pub reconnect_delay_max: Duration,
    /// How many removals are remembered while Redis cannot confirm them; past that, all of the
    /// cache's keys are deleted from Redis when it is back. Default: 4,096.
    pub pending_removals_max: usize,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            command_timeout: Duration::from_millis(100),
            connect_grace: Duration::from_millis(250),
            connect_timeout: Duration::from_secs(2),
            reconnect_delay_max: Duration::from_secs(5),
            pending_removals_max: 4096,
        }
    }
}

impl RedisConfig {
    /// Checks every field without opening anything; `build` does so as well.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let durations = [
            ("redis.command_timeout", self.command_timeout),
            ("redis.connect_timeout", self.connect_timeout),
            ("redis.reconnect_delay_max", self.reconnect_delay_max),
        ];
        for (field, duration) in durations {
            if !(DURATION_MIN..=DURATION_MAX).contains(&duration) {
                let value = format!("{duration:?}");
                return Err(ConfigError::Value {
                    field,
                    value,
                    expected: "use 1 ms to 1 hour",
                });
            }
        }
        if self.pending_removals_max == 0 {
            return Err(ConfigError::Value {
                field: "redis.pending_removals_max",
                value: "0".to_owned(),
                expected: "use at least 1",
            });
        }
        client::build(self).map(drop)
    }
}

/// Without the URL: it may hold a password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &"(hidden)")
            .field("command_timeout", &self.command_timeout)
            .field("connect_grace", &self.connect_grace)
            .field("connect_timeout", &self.connect_timeout)
            .field("reconnect_delay_max", &self.reconnect_delay_max)
            .field("pending_removals_max", &self.pending_removals_max)
            .finish()
    }
}

const DURATION_MIN: Duration = Duration::from_millis(1);
const DURATION_MAX: Duration = Duration::from_secs(3600);
