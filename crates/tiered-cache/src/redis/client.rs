//! How fred is set up: reconnect for ever, notice dead sockets, fail fast, never ask a replica.

use std::time::Duration;

use fred::{
    clients::Client,
    types::{
        Builder, RespVersion,
        config::{Config, Options, ReconnectPolicy, UnresponsiveConfig},
    },
};

use super::RedisConfig;
use crate::error::ConfigError;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Commands that Redis answers at once.
    Commands,
    /// Reads of the log that wait up to [`BLOCK_MAX`] for an entry.
    Blocked,
    /// Hears of changed keys (RESP3).
    Tracking,
}

/// A client that is not connected yet.
pub(super) fn build(config: &RedisConfig, purpose: Purpose) -> Result<Client, ConfigError> {
    let mut settings = settings(config)?;
    // Concerns the first connection: without it, an absent server would end the client.
    settings.fail_fast = false;
    if purpose == Purpose::Tracking {
        settings.version = RespVersion::RESP3;
    }
    let patience = match purpose {
        Purpose::Commands | Purpose::Tracking => UNRESPONSIVE,
        Purpose::Blocked => BLOCK_MAX + UNRESPONSIVE,
    };
    let delay_max = u32::try_from(config.reconnect_delay_max.as_millis()).unwrap_or(u32::MAX);
    let mut builder = Builder::from_config(settings);
    builder
        // 0 attempts stand for no limit; fred's own default is not to reconnect at all.
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            DELAY_MIN_MS.min(delay_max),
            delay_max,
            2,
        ))
        .with_connection_config(|connection| {
            connection.connection_timeout = config.connect_timeout;
            connection.internal_command_timeout = config.connect_timeout;
            connection.reconnect_on_auth_error = true;
            // fred's default is no bound.
            connection.max_command_buffer_len = COMMANDS_MAX;
            connection.tcp.nodelay = Some(true);
            // Without it, a half-open connection hangs for ever.
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(patience),
                interval: UNRESPONSIVE_CHECK,
            };
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = config.connect_timeout;
            // fred's default of 32 loses news of changed keys in any burst.
            performance.broadcast_channel_capacity = NEWS_MAX;
        });
    builder.build().map_err(|error| bad(error.details()))
}

/// What the URL says, checked as far as it can be without asking anybody.
pub(super) fn settings(config: &RedisConfig) -> Result<Config, ConfigError> {
    let scheme = config.url.split("://").next().unwrap_or_default();
    match scheme {
        "redis" | "redis-sentinel" | "redis-cluster" | "valkey" | "valkey-sentinel"
        | "valkey-cluster" => {}
        "rediss" | "rediss-sentinel" | "rediss-cluster" | "valkeys" | "valkeys-sentinel"
        | "valkeys-cluster" => {
            // fred panics on such a URL when it was built without TLS.
            if cfg!(not(feature = "redis-tls")) {
                return Err(bad("TLS needs the feature `redis-tls` of tiered-cache"));
            }
        }
        _ => {
            return Err(bad(
                "it must begin with redis://, redis-sentinel:// or redis-cluster:// (rediss for TLS)",
            ));
        }
    }
    Config::from_url(&config.url).map_err(|error| bad(error.details()))
}

/// For every command of ours: one attempt, an error at once while disconnected, a deadline.
pub(super) fn options(timeout: Duration, clustered: bool) -> Options {
    Options {
        // To follow a slot that moved counts as an attempt; `fail_fast` allows none after a failure.
        max_attempts: Some(if clustered { 2 } else { 1 }),
        timeout: Some(timeout),
        fail_fast: true,
        ..Options::default()
    }
}

fn bad(reason: &str) -> ConfigError {
    ConfigError::RedisUrl {
        reason: reason.to_owned(),
    }
}

/// The longest that one read of the log waits inside Redis.
pub(super) const BLOCK_MAX: Duration = Duration::from_secs(10);
const DELAY_MIN_MS: u32 = 50;
const COMMANDS_MAX: usize = 16_384;
const NEWS_MAX: usize = 8192;
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const UNRESPONSIVE_CHECK: Duration = Duration::from_millis(500);
