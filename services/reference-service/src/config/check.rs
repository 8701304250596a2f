//! Refuses what cannot work before anything is opened: the crates' own checks, and combinations that no
//! single value shows.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, error::shown, text::REDACTED};

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_database()?;
        self.check_cache()?;
        self.check_http()?;
        self.check_admin()?;
        if !MONITOR_INTERVALS.contains(&self.monitor.interval) {
            return Err(refuse(
                "monitor.interval",
                duration(self.monitor.interval),
                "use 1s to 1day",
            ));
        }
        if let Err(error) = EnvFilter::try_new(&self.log.filter) {
            return Err(refuse("log.filter", &self.log.filter, error));
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), ConfigError> {
        let url = self.database.url.expose();
        // A printed configuration was fed back: the password in it is not one.
        if url.contains(REDACTED) {
            return Err(refuse(
                "database.url",
                &self.database.url,
                "holds a redacted password",
            ));
        }
        self.database
            .pool()
            .validate()
            .map_err(|error| match error.field() {
                "url" => {
                    let url = serde_json::Value::from(url);
                    refuse(
                        "database.url",
                        shown("database.url", Some(&url)),
                        error.problem(),
                    )
                }
                // Our `max_size` counts the readers of SQLite.
                "readers" => refuse("database.pool.max_size", error.value(), error.problem()),
                field => refuse(
                    &format!("database.pool.{field}"),
                    error.value(),
                    error.problem(),
                ),
            })?;
        self.check_replicas()?;
        self.check_backup()?;
        self.check_query_cache()
    }

    fn check_replicas(&self) -> Result<(), ConfigError> {
        let Some(servers) = self.database.servers() else {
            return Ok(());
        };
        let replicas = &self.database.replicas;
        let shown: Vec<_> = replicas.iter().map(ToString::to_string).collect();
        let bad = |reason: &str| refuse("database.replicas", shown.join(" "), reason);
        if replicas.iter().any(|url| url.expose().contains(REDACTED)) {
            return Err(bad("holds a redacted password"));
        }
        if self.database.pool().file().is_ok_and(|file| file.is_some()) {
            return Err(bad("a SQLite file has no replicas; leave it out"));
        }
        servers.validate().map_err(|error| bad(error.problem()))?;
        if self.database.query_cache.ttl.is_some() {
            return Err(bad(
                "the query cache reads from one server; leave database.query_cache.ttl out",
            ));
        }
        Ok(())
    }

    fn check_backup(&self) -> Result<(), ConfigError> {
        let backup = &self.database.backup;
        if backup
            .folder
            .as_ref()
            .is_some_and(|it| it.as_os_str().is_empty())
        {
            let reason = "names no folder; leave it out for no copies";
            return Err(refuse("database.backup.folder", "", reason));
        }
        if !BACKUP_INTERVALS.contains(&backup.every) {
            let (every, reason) = (duration(backup.every), "use 1m to 8784h");
            return Err(refuse("database.backup.every", every, reason));
        }
        if backup.keep == 0 {
            return Err(refuse("database.backup.keep", 0, "must be at least 1"));
        }
        Ok(())
    }

    fn check_query_cache(&self) -> Result<(), ConfigError> {
        let Some(ttl) = self.database.query_cache.ttl else {
            return Ok(());
        };
        if !WAITS.contains(&ttl) {
            let reason = "use 1ms to 1day, or leave it out";
            return Err(refuse("database.query_cache.ttl", duration(ttl), reason));
        }
        if self.database.query_cache.max_entries == 0 {
            let reason = "must be at least 1; leave database.query_cache.ttl out for no cache";
            return Err(refuse("database.query_cache.max_entries", 0, reason));
        }
        if self.database.pool.pgbouncer {
            let reason =
                "PgBouncer keeps no session in which replicas could hear of writes; leave it out";
            return Err(refuse("database.query_cache.ttl", duration(ttl), reason));
        }
        Ok(())
    }

    fn check_cache(&self) -> Result<(), ConfigError> {
        let cache = &self.cache;
        cache.policy().validate().map_err(|error| {
            // What the policy checks is configured under its own name, but for these two.
            match error.field() {
                Some("capacity") => refuse("cache.memory.capacity", cache.memory.capacity, error),
                Some("ttl") | None => refuse("cache.ttl", duration(cache.ttl), error),
                Some(field) => refuse(&format!("cache.{field}"), error.to_string(), error),
            }
        })?;
        if let Some(disk) = cache.disk_tier() {
            let capacity = cache.disk.capacity.display().iec().to_string();
            disk.validate()
                .map_err(|error| refuse("cache.disk.capacity", capacity, error))?;
        }
        if let (Some(redis), Some(url)) = (cache.redis_tier(), &cache.redis.url) {
            if url.expose().contains(REDACTED) {
                return Err(refuse("cache.redis.url", url, "holds a redacted password"));
            }
            let text = serde_json::Value::from(url.expose());
            redis.validate().map_err(|error| {
                refuse(
                    "cache.redis.url",
                    shown("cache.redis.url", Some(&text)),
                    error,
                )
            })?;
        }
        Ok(())
    }

    fn check_http(&self) -> Result<(), ConfigError> {
        let http = &self.http;
        for (key, wait) in [
            ("http.header_timeout", http.header_timeout),
            ("http.request_timeout", http.request_timeout),
            ("http.write_timeout", http.write_timeout),
        ] {
            if !WAITS.contains(&wait) {
                return Err(refuse(key, duration(wait), "use 1ms to 1day"));
            }
        }
        if !CONNECTIONS.contains(&http.max_connections) {
            let expected = "use 1 to 1,000,000";
            return Err(refuse(
                "http.max_connections",
                http.max_connections,
                expected,
            ));
        }
        if !BODY_BYTES.contains(&http.body_limit.as_u64()) {
            let given = http.body_limit.display().iec();
            return Err(refuse("http.body_limit", given, "use 1 B to 1 GiB"));
        }
        Ok(())
    }

    fn check_admin(&self) -> Result<(), ConfigError> {
        let admin = &self.admin;
        if self.http.address == admin.address && self.http.address.port() != 0 {
            let reason = "the API listens there already (http.address)";
            return Err(refuse("admin.address", admin.address, reason));
        }
        if !admin.address.ip().is_loopback() && admin.key.is_none() {
            let reason = "set admin.key (APP__ADMIN__KEY) to listen beyond loopback";
            return Err(refuse("admin.address", admin.address, reason));
        }
        if admin
            .key
            .as_ref()
            .is_some_and(|key| key.expose().len() < KEY_LEN_MIN)
        {
            let reason = format!("must have at least {KEY_LEN_MIN} characters");
            return Err(refuse("admin.key", REDACTED, reason));
        }
        Ok(())
    }
}

fn refuse(key: &str, value: impl Display, reason: impl Display) -> ConfigError {
    ConfigError::value(key, &value, reason.to_string())
}

/// As it is written in a file.
fn duration(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(
        |_| format!("{duration:?}"),
        |duration| format!("{duration:#}"),
    )
}

/// What the monitor accepts.
const MONITOR_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const WAITS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
const BACKUP_INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600);
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
const BODY_BYTES: RangeInclusive<u64> = 1..=1 << 30;
/// Shorter keys can be guessed.
const KEY_LEN_MIN: usize = 16;
