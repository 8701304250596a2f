//! Settings: what is refused, how they read as text, and that no password leaks.

use std::time::Duration;

use db_pool::{BackendKind, PoolConfig};

const PG: &str = "postgres://app:hunter2@db/app";

#[test]
fn impossible_settings_are_refused_by_field_and_value() {
    type Change = fn(&mut PoolConfig);
    let cases: [(&str, &str, &str, Change); 23] = [
        (PG, "keepalive", "10m", |c| {
            c.keepalive = Some(Duration::from_secs(600));
        }),
        (PG, "keepalive", "2m", |c| {
            c.max_lifetime = Some(Duration::from_secs(60));
        }),
        (PG, "leak_after", "1h", |c| {
            c.leak_after = Some(Duration::from_secs(3600));
        }),
        (PG, "cancel_after", "3s", |c| {
            c.cancel_after = c.recovery_timeout;
        }),
        (PG, "lanes", "10", |c| c.lanes = 10),
        (PG, "lane_depth", "0", |c| c.lane_depth = 0),
        (PG, "connect_concurrency", "0", |c| {
            c.connect_concurrency = 0;
        }),
        (PG, "overflow", "20000", |c| c.overflow = 20_000),
        (PG, "slow_query", "0s", |c| {
            c.slow_query = Some(Duration::ZERO);
        }),
        ("a.db", "overflow", "1", |c| c.overflow = 1),
        ("a.db", "pgbouncer", "true", |c| c.pgbouncer = true),
        (PG, "max_size", "0", |c| c.max_size = 0),
        (PG, "max_size", "4000000000", |c| c.max_size = 4_000_000_000),
        (PG, "min_idle", "11", |c| c.min_idle = 11),
        (PG, "acquire_timeout", "0s", |c| {
            c.acquire_timeout = Duration::ZERO;
        }),
        (PG, "connect_timeout", "0s", |c| {
            c.connect_timeout = Duration::ZERO;
        }),
        (PG, "close_timeout", "1year", |c| {
            c.close_timeout = Duration::from_secs(31_557_600);
        }),
        (PG, "max_lifetime", "0s", |c| {
            c.max_lifetime = Some(Duration::ZERO);
        }),
        (PG, "name", "", |c| c.name.clear()),
        ("a.db", "max_size", "1", |c| c.max_size = 1),
        ("a.db", "readers", "0", |c| c.readers = Some(0)),
        ("a.db", "readers", "10", |c| c.readers = Some(10)),
        ("mysql://u:hunter2@h/d", "url", "mysql://u:***@h/d", |_| {}),
    ];
    for (url, field, value, change) in cases {
        let mut config = PoolConfig::web(url);
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert_eq!((error.field(), error.value()), (field, value), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn the_presets_are_valid() {
    assert_eq!(PoolConfig::web(PG).validate(), Ok(BackendKind::Postgres));
    assert_eq!(PoolConfig::batch(PG).validate(), Ok(BackendKind::Postgres));
    for path in ["data/app.db", "app", "sqlite:app", "sqlite:///tmp/app"] {
        assert_eq!(
            PoolConfig::embedded(path).validate(),
            Ok(BackendKind::Sqlite),
            "{path}"
        );
    }
    assert_eq!(PoolConfig::default().validate().unwrap_err().field(), "url");
}

#[test]
fn durations_are_text_and_off_switches_off() {
    let text = r#"{ "url": "a.db", "acquire_timeout": "250ms", "max_lifetime": "off", "idle_timeout": "5m" }"#;
    let config: PoolConfig = serde_json::from_str(text).unwrap();
    assert_eq!(config.acquire_timeout, Duration::from_millis(250));
    assert_eq!(
        (config.max_lifetime, config.idle_timeout),
        (None, Some(Duration::from_secs(300)))
    );
    assert_eq!(config.max_size, PoolConfig::web("").max_size);
}

#[test]
fn unknown_keys_and_bad_durations_are_errors() {
    for text in [
        r#"{ "url": "a.db", "max_sise": 3 }"#,
        r#"{ "acquire_timeout": "soon" }"#,
        r#"{ "acquire_timeout": 5 }"#,
        r#"{ "acquire_timeout": "off" }"#,
    ] {
        assert!(serde_json::from_str::<PoolConfig>(text).is_err(), "{text}");
    }
}

#[test]
fn a_config_survives_a_round_trip_as_text() {
    for config in [
        PoolConfig::web("postgres://u@h/d"),
        PoolConfig::batch("a.db"),
        PoolConfig::embedded("a"),
    ] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<PoolConfig>(&text).unwrap(),
            config,
            "{text}"
        );
    }
}

#[test]
fn neither_debug_nor_serialising_shows_the_password() {
    let config = PoolConfig::web(PG);
    for text in [
        format!("{config:?}"),
        serde_json::to_string(&config).unwrap(),
    ] {
        assert!(
            text.contains("app:***@db") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
