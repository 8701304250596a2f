//! How fred is set up: reconnect for ever, notice dead sockets, fail fast.

use std::time::Duration;

use fred::{
    clients::Client,
    types::{
        Builder,
        config::{Config, Options, ReconnectPolicy, UnresponsiveConfig},
    },
};

use super::RedisConfig;
use crate::error::ConfigError;

pub(super) fn build(config: &RedisConfig) -> Result<Client, ConfigError> {
    let bad = |reason: &str| ConfigError::RedisUrl {
        reason: reason.to_owned(),
    };
    let scheme = config.url.split("://").next().unwrap_or_default();
    match scheme {
        "redis" | "redis-sentinel" | "valkey" | "valkey-sentinel" => {}
        "rediss" | "rediss-sentinel" | "valkeys" | "valkeys-sentinel" => {
            // fred panics on such a URL when it was built without TLS.
            if cfg!(not(feature = "redis-tls")) {
                return Err(bad("TLS needs the feature `redis-tls` of tiered-cache"));
            }
        }
        scheme if scheme.contains("-cluster") => {
            return Err(bad(
                "Redis Cluster is not supported yet: name one server or a Sentinel",
            ));
        }
        _ => {
            return Err(bad(
                "it must begin with redis://, rediss:// or redis-sentinel://",
            ));
        }
    }
    let mut settings = Config::from_url(&config.url).map_err(|error| bad(error.details()))?;
    // Concerns the first connection: without it, an absent server would end the client.
    settings.fail_fast = false;
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
                max_timeout: Some(UNRESPONSIVE),
                interval: UNRESPONSIVE_CHECK,
            };
        })
        .with_performance_config(|performance| {
            performance.default_command_timeout = config.connect_timeout;
        });
    builder.build().map_err(|error| bad(error.details()))
}

/// For every command of ours: one attempt, an error at once while disconnected, a deadline.
pub(super) fn options(config: &RedisConfig) -> Options {
    Options {
        max_attempts: Some(1),
        timeout: Some(config.command_timeout),
        fail_fast: true,
        ..Options::default()
    }
}

const DELAY_MIN_MS: u32 = 50;
const COMMANDS_MAX: usize = 16_384;
const UNRESPONSIVE: Duration = Duration::from_secs(2);
const UNRESPONSIVE_CHECK: Duration = Duration::from_millis(500);
