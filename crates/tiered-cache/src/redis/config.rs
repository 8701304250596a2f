//! What the Redis tier needs to know.

use std::{fmt, time::Duration};

use super::client;
use crate::error::ConfigError;

/// How to reach Redis; every field has a default.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`,
    /// `redis-sentinel://host:port?sentinelServiceName=name&node=host:port`, or
    /// `redis-cluster://host:port?node=host:port`; `rediss` in the place of `redis` needs the feature
    /// `redis-tls`. Replicas are never asked. Default: `redis://127.0.0.1:6379`.
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
    /// How many entries the invalidation log keeps (roughly: Redis trims in blocks). A process that
    /// was away for more drops all it holds. Each takes some 100 bytes of Redis. Default: 65,536.
    pub log_entries_max: usize,
    /// How long a removed key is remembered in its own place in Redis, so that a load begun before the
    /// removal is not kept there; more than the longest load takes. Default: 10 minutes.
    pub tombstone_ttl: Duration,
    /// Whether Redis tells of every key of ours that somebody changes (client-side tracking in
    /// broadcasting mode, RESP3), for writers that do not use this crate. What a replica fills, this one
    /// included, counts as a change too: the copy in memory is stale then, and the next read asks Redis
    /// once more; after each reconnection that is so for all copies. Not with a Cluster. Default:
    /// `false`; invalidations of this crate need no tracking.
    pub tracking: bool,
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
            log_entries_max: 65_536,
            tombstone_ttl: Duration::from_secs(600),
            tracking: false,
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
            ("redis.tombstone_ttl", self.tombstone_ttl),
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
        if self.log_entries_max < LOG_ENTRIES_MIN {
            return Err(ConfigError::Value {
                field: "redis.log_entries_max",
                value: self.log_entries_max.to_string(),
                expected: "use at least 100",
            });
        }
        let settings = client::settings(self)?;
        if self.tracking && settings.server.is_clustered() {
            return Err(ConfigError::Value {
                field: "redis.tracking",
                value: "true".to_owned(),
                expected: "use false with a Cluster: each of its nodes tells of its own keys alone",
            });
        }
        Ok(())
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
            .field("log_entries_max", &self.log_entries_max)
            .field("tombstone_ttl", &self.tombstone_ttl)
            .field("tracking", &self.tracking)
            .finish()
    }
}

/// Fewer and every short absence would cost all that is held.
const LOG_ENTRIES_MIN: usize = 100;
const DURATION_MIN: Duration = Duration::from_millis(1);
const DURATION_MAX: Duration = Duration::from_secs(3600);
