//! What makes settings impossible, alone or beside each other: told by field, value and reason, never corrected.

use std::time::Duration;

use super::{MAX_DURATION, PoolConfig};
use crate::error::ConfigError;
use crate::url::BackendKind;

impl PoolConfig {
    /// Checks every field without opening anything, and says which database the URL names.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that cannot work, and its value.
    pub fn validate(&self) -> Result<BackendKind, ConfigError> {
        let kind = BackendKind::from_url(&self.url)?;
        self.file()?;
        self.check_sizes(kind)?;
        self.check_extras(kind)?;
        self.check_durations()?;
        self.check_order(kind)?;
        if self.name.is_empty() {
            return Err(ConfigError::new(
                "name",
                &self.name,
                "is empty; it labels the metrics",
            ));
        }
        Ok(kind)
    }

    fn check_sizes(&self, kind: BackendKind) -> Result<(), ConfigError> {
        let bad = |field, value: u32, problem| Err(ConfigError::new(field, value, problem));
        if self.max_size == 0 {
            return bad("max_size", 0, "must be at least 1");
        }
        if self.max_size > MAX_SIZE {
            return bad("max_size", self.max_size, "is more than 10000");
        }
        if kind == BackendKind::Sqlite && self.max_size < 2 {
            return bad(
                "max_size",
                self.max_size,
                "must be at least 2 on SQLite: a writer and a reader",
            );
        }
        if let (BackendKind::Sqlite, Some(readers)) = (kind, self.readers) {
            if readers == 0 {
                return bad("readers", readers, "must be at least 1");
            }
            if readers >= self.max_size {
                return bad(
                    "readers",
                    readers,
                    "must be less than max_size: one connection writes",
                );
            }
        }
        if self.min_idle > self.reading_size(kind) {
            return bad(
                "min_idle",
                self.min_idle,
                "is more than there can be connections",
            );
        }
        Ok(())
    }

    fn check_extras(&self, kind: BackendKind) -> Result<(), ConfigError> {
        let bad = |field, value: u32, problem| Err(ConfigError::new(field, value, problem));
        if self.connect_concurrency == 0 {
            return bad("connect_concurrency", 0, "must be at least 1");
        }
        if self.overflow > MAX_SIZE {
            return bad("overflow", self.overflow, "is more than 10000");
        }
        match kind {
            BackendKind::Sqlite if self.overflow > 0 => {
                let problem =
                    "must be 0 on SQLite: a file has one writer, and readers are cheap to keep";
                bad("overflow", self.overflow, problem)
            }
            BackendKind::Sqlite if self.pgbouncer => {
                let problem = "must be false on SQLite: there is no server to stand in front of";
                Err(ConfigError::new("pgbouncer", true, problem))
            }
            BackendKind::Postgres if self.lanes > 0 && self.lane_depth == 0 => {
                bad("lane_depth", 0, "must be at least 1 where there are lanes")
            }
            // With the default of two, one or two connections work all the same: see `lanes_at_most`.
            BackendKind::Postgres if self.lanes >= self.max_size.max(3) => {
                let problem = "must be less than max_size: whatever writes needs connections too";
                bad("lanes", self.lanes, problem)
            }
            _ => Ok(()),
        }
    }

    /// Durations that undo each other.
    fn check_order(&self, kind: BackendKind) -> Result<(), ConfigError> {
        let bad = |field, value: Duration, problem| {
            Err(ConfigError::new(
                field,
                humantime::format_duration(value),
                problem,
            ))
        };
        let reaches =
            |value: Duration, limit: Option<Duration>| limit.is_some_and(|limit| value >= limit);
        if let Some(keepalive) = self.keepalive {
            if reaches(keepalive, self.idle_timeout) {
                let problem = "must be shorter than idle_timeout, or nothing idles long enough to be asked; \"off\" never asks";
                return bad("keepalive", keepalive, problem);
            }
            if reaches(keepalive, self.max_lifetime) {
                let problem = "must be shorter than max_lifetime, or nothing lives long enough to be asked; \"off\" never asks";
                return bad("keepalive", keepalive, problem);
            }
        }
        if let Some(leak_after) = self.leak_after
            && self.max_lifetime.is_some_and(|limit| leak_after > limit)
        {
            let problem = "must not be longer than max_lifetime; \"off\" tells of no leaks";
            return bad("leak_after", leak_after, problem);
        }
        // SQLite cancels nothing.
        if kind == BackendKind::Postgres && self.cancel_after >= self.recovery_timeout {
            let problem =
                "must be shorter than recovery_timeout, or there is no time left to cancel";
            return bad("cancel_after", self.cancel_after, problem);
        }
        Ok(())
    }

    fn check_durations(&self) -> Result<(), ConfigError> {
        let always = [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("validation_timeout", self.validation_timeout),
            ("recovery_timeout", self.recovery_timeout),
            ("close_timeout", self.close_timeout),
            ("lane_statement_timeout", self.lane_statement_timeout),
            ("lane_slow", self.lane_slow),
        ];
        let or_off = [
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            (
                "idle_in_transaction_timeout",
                self.idle_in_transaction_timeout,
            ),
            ("keepalive", self.keepalive),
            ("leak_after", self.leak_after),
        ];
        let thresholds = [
            ("slow_acquire", self.slow_acquire),
            ("slow_query", self.slow_query),
        ];
        for (field, value) in thresholds {
            if value == Some(Duration::ZERO) {
                let problem = "must be more than nothing; \"off\" tells of none";
                return Err(ConfigError::new(field, "0s", problem));
            }
        }
        let or_off = or_off
            .into_iter()
            .filter_map(|(field, value)| Some((field, value?)));
        let longest = [
            ("validate_after_idle", self.validate_after_idle),
            ("cancel_after", self.cancel_after),
        ];
        let told = thresholds
            .into_iter()
            .filter_map(|(field, value)| Some((field, value?)));
        let longest = longest.into_iter().chain(told);
        for (field, value) in always.into_iter().chain(or_off.clone()) {
            if value < Duration::from_millis(1) {
                let problem =
                    "is shorter than 1ms; where no limit is wanted, \"off\" may be allowed";
                return Err(ConfigError::new(
                    field,
                    humantime::format_duration(value),
                    problem,
                ));
            }
        }
        for (field, value) in always.into_iter().chain(or_off).chain(longest) {
            if value > MAX_DURATION {
                let problem = "is longer than 20 days, the most that every backend accepts";
                return Err(ConfigError::new(
                    field,
                    humantime::format_duration(value),
                    problem,
                ));
            }
        }
        Ok(())
    }
}

/// A size beyond any sense; keeps arithmetic and allocations small.
const MAX_SIZE: u32 = 10_000;
