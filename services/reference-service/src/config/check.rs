//! What no single value shows: combinations of settings that cannot work.

use std::{ops::RangeInclusive, time::Duration};

use super::{Config, ConfigError};

impl Config {
    /// Refuses combinations that cannot work, before anything is opened.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bad = ConfigError::value;
        db_pool::BackendKind::from_url(self.database.url.expose())
            .map_err(|error| bad("database.url", &self.database.url, error.to_string()))?;
        if let Some(url) = &self.cache.redis.url
            && !REDIS_SCHEMES
                .iter()
                .any(|scheme| url.expose().starts_with(scheme))
        {
            let reason = format!("expected one of {}", REDIS_SCHEMES.join(", "));
            return Err(bad("cache.redis.url", url, reason));
        }
        if self.cache.ttl.is_zero() {
            return Err(bad("cache.ttl", &"0s", "must be above zero".to_owned()));
        }
        if self.cache.memory.capacity == 0 {
            return Err(bad(
                "cache.memory.capacity",
                &0,
                "must be at least 1".to_owned(),
            ));
        }
        if self.database.pool.max_size == Some(0) {
            return Err(bad(
                "database.pool.max_size",
                &0,
                "must be at least 1".to_owned(),
            ));
        }
        if !MONITOR_INTERVALS.contains(&self.monitor.interval) {
            let shown = format!("{:?}", self.monitor.interval);
            return Err(bad(
                "monitor.interval",
                &shown,
                "must be 1s to 1day".to_owned(),
            ));
        }
        if self.http.max_connections == 0 {
            return Err(bad(
                "http.max_connections",
                &0,
                "must be at least 1".to_owned(),
            ));
        }
        for (key, wait) in [
            ("http.header_timeout", self.http.header_timeout),
            ("http.request_timeout", self.http.request_timeout),
        ] {
            if wait.is_zero() {
                return Err(bad(key, &"0s", "must be above zero".to_owned()));
            }
        }
        if self.http.address == self.admin.address && self.http.address.port() != 0 {
            let reason = "the API listens there already (http.address)".to_owned();
            return Err(bad("admin.address", &self.admin.address, reason));
        }
        if !self.admin.address.ip().is_loopback() && self.admin.key.is_none() {
            let reason = "set admin.key (APP__ADMIN__KEY) to listen beyond loopback".to_owned();
            return Err(bad("admin.address", &self.admin.address, reason));
        }
        if self
            .admin
            .key
            .as_ref()
            .is_some_and(|key| key.expose().len() < KEY_LEN_MIN)
        {
            let reason = format!("must have at least {KEY_LEN_MIN} characters");
            return Err(bad("admin.key", &"[redacted]", reason));
        }
        Ok(())
    }
}

const REDIS_SCHEMES: [&str; 6] = [
    "redis://",
    "rediss://",
    "redis-sentinel://",
    "rediss-sentinel://",
    "redis-cluster://",
    "rediss-cluster://",
];

/// What the monitor accepts.
const MONITOR_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// Shorter keys can be guessed.
const KEY_LEN_MIN: usize = 16;
