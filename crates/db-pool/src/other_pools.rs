//! What the settings of other pools are called here, for those who move over.

/// One setting of another pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherSetting {
    /// The pool: `SQLAlchemy`, `HikariCP` or `sqlx`.
    pub pool: &'static str,
    /// The name of the setting there.
    pub name: &'static str,
    /// The field of [`PoolConfig`](crate::PoolConfig); `None` where there is nothing to set.
    pub here: Option<&'static str>,
    /// What is different.
    pub note: &'static str,
}

/// Finds out what a setting of SQLAlchemy, HikariCP or sqlx is called here, however its words are joined:
/// `maximumPoolSize`, `maximum-pool-size` and `maximum_pool_size` are the same.
///
/// ```
/// let found = db_pool::setting_of_other_pool("maximumPoolSize").expect("HikariCP has it");
/// assert_eq!(found.here, Some("max_size"));
/// ```
pub fn setting_of_other_pool(name: &str) -> Option<&'static OtherSetting> {
    let wanted = plain(name);
    OTHER_SETTINGS
        .iter()
        .find(|setting| plain(setting.name) == wanted)
}

fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

const fn is(
    pool: &'static str,
    name: &'static str,
    here: &'static str,
    note: &'static str,
) -> OtherSetting {
    OtherSetting {
        pool,
        name,
        here: Some(here),
        note,
    }
}

const fn none(pool: &'static str, name: &'static str, note: &'static str) -> OtherSetting {
    OtherSetting {
        pool,
        name,
        here: None,
        note,
    }
}

/// The settings of SQLAlchemy, HikariCP and sqlx, and what they are called here.
pub const OTHER_SETTINGS: &[OtherSetting] = &[
    is(
        "SQLAlchemy",
        "pool_size",
        "max_size",
        "there the size that is kept, here the most there may be",
    ),
    is(
        "SQLAlchemy",
        "max_overflow",
        "overflow",
        "closed as soon as nobody waits",
    ),
    is(
        "SQLAlchemy",
        "pool_timeout",
        "acquire_timeout",
        "there seconds, here text such as \"5s\"",
    ),
    is(
        "SQLAlchemy",
        "pool_recycle",
        "max_lifetime",
        "replaced in advance and not all together",
    ),
    is(
        "SQLAlchemy",
        "pool_pre_ping",
        "validate_after_idle",
        "there before each use, here only after idling; \"0s\" asks each time",
    ),
    none(
        "SQLAlchemy",
        "pool_reset_on_return",
        "open transactions are always rolled back",
    ),
    none(
        "SQLAlchemy",
        "pool_use_lifo",
        "always: what is not needed can then be closed",
    ),
    is("HikariCP", "maximumPoolSize", "max_size", ""),
    is("HikariCP", "minimumIdle", "min_idle", ""),
    is(
        "HikariCP",
        "connectionTimeout",
        "acquire_timeout",
        "opening a connection has connect_timeout besides",
    ),
    is("HikariCP", "idleTimeout", "idle_timeout", ""),
    is(
        "HikariCP",
        "maxLifetime",
        "max_lifetime",
        "a replacement opens before the old one closes",
    ),
    is("HikariCP", "keepaliveTime", "keepalive", ""),
    is("HikariCP", "validationTimeout", "validation_timeout", ""),
    is("HikariCP", "leakDetectionThreshold", "leak_after", ""),
    is("HikariCP", "poolName", "name", ""),
    is("HikariCP", "jdbcUrl", "url", ""),
    none(
        "HikariCP",
        "initializationFailTimeout",
        "`connect` opens the first connection or fails",
    ),
    none(
        "HikariCP",
        "connectionTestQuery",
        "an empty query, the cheapest round trip",
    ),
    none(
        "HikariCP",
        "allowPoolSuspension",
        "`suspend` and `resume` are always there",
    ),
    is("sqlx", "max_connections", "max_size", ""),
    is(
        "sqlx",
        "min_connections",
        "min_idle",
        "there open ones, here idle ones",
    ),
    is(
        "sqlx",
        "acquire_timeout",
        "acquire_timeout",
        "opening a connection has connect_timeout besides",
    ),
    is("sqlx", "acquire_slow_threshold", "slow_acquire", ""),
    is("sqlx", "idle_timeout", "idle_timeout", ""),
    is("sqlx", "max_lifetime", "max_lifetime", ""),
    is(
        "sqlx",
        "test_before_acquire",
        "validate_after_idle",
        "there before each use, here only after idling; \"0s\" asks each time",
    ),
    none(
        "sqlx",
        "after_connect",
        "settings of the session are in the URL",
    ),
    none(
        "sqlx",
        "fair",
        "always: waiters are served in the order of asking",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PoolConfig;

    #[test]
    fn names_are_found_however_their_words_are_joined_and_name_fields_that_exist() {
        for name in ["maximum_pool_size", "maximum-pool-size", "MaximumPoolSize"] {
            let found = setting_of_other_pool(name);
            assert_eq!(
                found.and_then(|found| found.here),
                Some("max_size"),
                "{name}"
            );
        }
        assert_eq!(setting_of_other_pool("max_sise"), None);
        let fields = serde_json::to_value(PoolConfig::default()).expect("plain data");
        for setting in OTHER_SETTINGS {
            assert!(
                setting.here.is_none_or(|here| fields.get(here).is_some()),
                "{setting:?}"
            );
        }
    }
}
