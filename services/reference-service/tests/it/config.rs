//! Configuration: layers, messages, the committed default file.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use db_pool::PoolConfig;
use reference_service::config::{Config, ConfigError, Inputs};
use serde_json::Value;

fn inputs(folder: &Path, env: &[(&str, &str)]) -> Inputs {
    let env: HashMap<_, _> = env
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Inputs {
        env,
        folder: folder.to_owned(),
        ..Inputs::default()
    }
}

fn error(env: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    Config::load(&inputs(folder.path(), env))
        .expect_err("must be refused")
        .to_string()
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    let file = "[http]\naddress = \"127.0.0.1:1\"\nrequest_timeout = \"1s\"\n[cache]\nttl = \"1m\"";
    fs::write(folder.path().join("config/default.toml"), file).unwrap();
    let named = folder.path().join("mine.toml");
    fs::write(
        &named,
        "[http]\nrequest_timeout = \"2s\"\nbody_limit = \"2KiB\"",
    )
    .unwrap();
    let env = [
        ("APP_CONFIG", named.to_str().unwrap()),
        ("APP__HTTP__BODY_LIMIT", "3KiB"),
        ("APP__CACHE__REDIS__URL", ""),
        ("APP__DATABASE__POOL__MAX_SIZE", "7"),
        ("OTHER", "ignored"),
    ];
    let config = Config::load(&inputs(folder.path(), &env)).unwrap();
    assert_eq!(config.http.address.port(), 1, "from config/default.toml");
    assert_eq!(
        config.http.request_timeout.as_secs(),
        2,
        "from the named file"
    );
    assert_eq!(
        config.http.body_limit.as_u64(),
        3 * 1024,
        "from the environment"
    );
    assert_eq!(config.cache.ttl.as_secs(), 60);
    assert_eq!(config.cache.redis.url, None, "an empty variable is not set");
    assert_eq!(config.database.pool.max_size, Some(7));
    assert_eq!(
        config.changed(),
        [
            "cache.ttl = \"1m\"",
            "database.pool.max_size = 7",
            "http.address = \"127.0.0.1:1\"",
            "http.body_limit = \"3.0 KiB\"",
            "http.request_timeout = \"2s\"",
        ]
    );
    assert_eq!(Config::default().changed(), [""; 0]);
}

#[test]
fn the_committed_default_file_says_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
    let text = fs::read_to_string(file).unwrap();
    let from_file: Config = toml::from_str(&text).unwrap();
    assert_eq!(from_file, Config::default());
    // Every setting is in the file, those without a default as a comment.
    let all = serde_json::to_value(Config::default()).unwrap();
    for (section, settings) in all.as_object().unwrap() {
        for name in names(settings) {
            let told = text.lines().any(|line| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{name} ="))
            });
            assert!(told, "{section}: {name} is missing in config/default.toml");
        }
    }
}

#[test]
fn the_example_of_the_environment_names_every_setting() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example");
    let text = fs::read_to_string(file).unwrap();
    let mut known = Vec::new();
    paths(
        "APP_",
        &serde_json::to_value(Config::default()).unwrap(),
        &mut known,
    );
    for name in &known {
        assert!(
            text.contains(&format!("# {name}=")),
            "{name} is missing in .env.example"
        );
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("# APP__")) {
        let name = format!("APP__{}", line.split('=').next().unwrap());
        assert!(
            known.contains(&name),
            "{name} in .env.example is no setting"
        );
    }
}

fn names(settings: &Value) -> Vec<String> {
    settings
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, value)| {
            if value.is_object() {
                names(value)
            } else {
                vec![name.clone()]
            }
        })
        .collect()
}

fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
    for (name, value) in value.as_object().unwrap() {
        let path = format!("{prefix}_{}", name.to_uppercase());
        match value {
            Value::Object(_) => paths(&format!("{path}_"), value, found),
            _ => found.push(path),
        }
    }
}

#[test]
fn messages_name_key_value_and_origin() {
    let message = error(&[("APP__HTTP__ADDRESS", "nowhere")]);
    for part in ["`http.address`", "`nowhere`", "APP__HTTP__ADDRESS"] {
        assert!(message.contains(part), "{message}");
    }
    let message = error(&[("APP__HTTP__ADRESS", "127.0.0.1:1")]);
    for part in [
        "`http.adress`",
        "127.0.0.1:1",
        "did you mean `http.address`?",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = error(&[("APP__CACHE__TTL", "soon")]);
    assert!(message.contains("`cache.ttl` = `soon`"), "{message}");
    let message = error(&[("APP__DATABASE__POOL__MAX_SIZE", "-1")]);
    assert!(
        message.contains("`database.pool.max_size` = `-1`"),
        "{message}"
    );
}

#[test]
fn what_cannot_work_is_refused() {
    for (key, value, words) in [
        (
            "APP__DATABASE__URL",
            "mysql://localhost/app",
            "`database.url` = `mysql://localhost/app`",
        ),
        (
            "APP__DATABASE__URL",
            "sqlite:",
            "`database.url` = `sqlite:`",
        ),
        (
            "APP__DATABASE__URL",
            "sqlite::memory:",
            "`database.url` = `sqlite::memory:`",
        ),
        (
            "APP__DATABASE__POOL__MAX_SIZE",
            "0",
            "`database.pool.max_size` = `0`",
        ),
        (
            "APP__DATABASE__POOL__ACQUIRE_TIMEOUT",
            "0s",
            "`database.pool.acquire_timeout`",
        ),
        (
            "APP__DATABASE__POOL__SLOW_QUERY",
            "never",
            "`database.pool.slow_query` = `never`",
        ),
        (
            "APP__DATABASE__POOL__MIN_IDLE",
            "99",
            "`database.pool.min_idle` = `99`",
        ),
        (
            "APP__DATABASE__POOL__PGBOUNCER",
            "true",
            "`database.pool.pgbouncer` = `true`: must be false on SQLite",
        ),
        (
            "APP__DATABASE__POOL__LANE",
            "1",
            "did you mean `database.pool.lanes`?",
        ),
        (
            "APP__DATABASE__REPLICAS",
            "postgres://u:pw@h/d",
            "`database.replicas` = `postgres://u:***@h/d`: a SQLite file has no replicas",
        ),
        (
            "APP__DATABASE__BACKUP__EVERY",
            "1s",
            "`database.backup.every` = `1s`",
        ),
        (
            "APP__DATABASE__BACKUP__KEEP",
            "0",
            "`database.backup.keep` = `0`",
        ),
        (
            "APP__DATABASE__QUERY_CACHE__TTL",
            "0s",
            "`database.query_cache.ttl` = `0s`",
        ),
        ("APP__CACHE__TTL", "0s", "`cache.ttl` = `0s`"),
        (
            "APP__CACHE__COMPRESSION",
            "zip",
            "`cache.compression` = `zip`",
        ),
        (
            "APP__CACHE__MEMORY__CAPACITY",
            "0",
            "`cache.memory.capacity` = `0`",
        ),
        (
            "APP__CACHE__DISK__CAPACITY",
            "1KiB",
            "`cache.disk.capacity` = `1.0 KiB`",
        ),
        (
            "APP__CACHE__REDIS__URL",
            "http://localhost",
            "`cache.redis.url` = `http://localhost`",
        ),
        (
            "APP__CACHE__REDIS__URL",
            "memcached://a",
            "`cache.redis.url` = `memcached://a`",
        ),
        (
            "APP__MONITOR__ENABLED",
            "perhaps",
            "`monitor.enabled` = `perhaps`",
        ),
        (
            "APP__MONITOR__INTERVAL",
            "10ms",
            "`monitor.interval` = `10ms`",
        ),
        ("APP__LOG__FILTER", "=,=[{", "`log.filter` = `=,=[{`"),
        (
            "APP__ADMIN__ADDRESS",
            "0.0.0.0:9000",
            "`admin.address` = `0.0.0.0:9000`",
        ),
        (
            "APP__ADMIN__ADDRESS",
            "127.0.0.1:8080",
            "`admin.address` = `127.0.0.1:8080`",
        ),
        ("APP__ADMIN__KEY", "short", "`admin.key` = `***`"),
        (
            "APP__HTTP__MAX_CONNECTIONS",
            "0",
            "`http.max_connections` = `0`",
        ),
        (
            "APP__HTTP__MAX_CONNECTIONS",
            "9999999999999",
            "`http.max_connections` = `9999999999999`",
        ),
        ("APP__HTTP__BODY_LIMIT", "99999GiB", "`http.body_limit`"),
        ("APP__HTTP", "a text", "`http` = `a text`"),
        ("APP_CONFIG", "/does/not/exist.toml", "/does/not/exist.toml"),
    ] {
        let message = error(&[(key, value)]);
        assert!(message.contains(words), "{key}={value}: {message}");
    }
}

#[test]
fn a_limit_of_the_pool_can_be_set_switched_off_and_left_to_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("APP__DATABASE__URL", "postgres://db/app"),
        ("APP__DATABASE__POOL__SLOW_QUERY", "off"),
        ("APP__DATABASE__POOL__LEAK_AFTER", "1m 30s"),
        ("APP__DATABASE__POOL__LANES", "3"),
    ];
    let config = Config::load(&inputs(folder.path(), &env)).unwrap();
    let (pool, preset) = (config.database.pool(), PoolConfig::web(""));
    assert_eq!(pool.slow_query, None);
    assert_eq!(pool.leak_after, Some(Duration::from_secs(90)));
    assert_eq!(pool.lanes, 3);
    assert_eq!(pool.statement_timeout, preset.statement_timeout);
    // What was printed says the same when it is fed back.
    let printed: Config = toml::from_str(&config.to_toml()).unwrap();
    assert_eq!(printed, config);
}

#[test]
fn a_variable_that_is_no_unicode_is_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = inputs(folder.path(), &[]);
    inputs.unreadable.push("APP__ADMIN__KEY".to_owned());
    let error = Config::load(&inputs)
        .expect_err("the key would be missing")
        .to_string();
    assert!(error.contains("APP__ADMIN__KEY"), "{error}");
}

#[test]
fn secrets_are_in_no_message_and_in_no_printed_configuration() {
    const PASSWORD: &str = "hunter2hunter2hunter2";
    let url = format!("postgres://app:{PASSWORD}@db/app");
    let redis = format!("redis://:{PASSWORD}@cache:6379");
    let folder = tempfile::tempdir().unwrap();
    let env = [
        ("APP__DATABASE__URL", url.as_str()),
        ("APP__CACHE__REDIS__URL", redis.as_str()),
        ("APP__ADMIN__KEY", PASSWORD),
    ];
    let config = Config::load(&inputs(folder.path(), &env)).unwrap();
    assert_eq!(config.database.url.expose(), url);
    for shown in [config.to_toml(), format!("{config:?}")] {
        assert!(!shown.contains(PASSWORD), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
    let message = error(&[(
        "APP__DATABASE__URL",
        &format!("mysql://app:{PASSWORD}@db/app"),
    )]);
    assert!(!message.contains(PASSWORD), "{message}");
    let message = error(&[(
        "APP__CACHE__REDIS__URL",
        &format!("http://:{PASSWORD}@cache"),
    )]);
    assert!(!message.contains(PASSWORD), "{message}");
    for (key, value) in [
        ("APP__DATABASE__PASSWORD", PASSWORD.to_owned()),
        ("APP__ADMIN_KEY", PASSWORD.to_owned()),
        ("APP__DATABASE_URL", url.clone()),
        ("APP__DATABASE", url.clone()),
        ("APP__ADMIN", PASSWORD.to_owned()),
        (
            "APP__DATABASE__URL",
            format!("postgres:app:{PASSWORD}@db/app"),
        ),
        ("APP__DATABASE__URL", format!("host=db password={PASSWORD}")),
        ("APP__CACHE__REDIS__URL", format!(":{PASSWORD}@cache:6379")),
    ] {
        let message = error(&[(key, &value)]);
        assert!(!message.contains(PASSWORD), "{key}: {message}");
    }
    // What was printed is not taken for a password when it is fed back.
    let printed = config.to_toml();
    let file = folder.path().join("printed.toml");
    fs::write(&file, printed).unwrap();
    let message = error(&[("APP_CONFIG", file.to_str().unwrap())]);
    assert!(message.contains("redacted"), "{message}");
}

#[test]
fn a_file_that_is_no_toml_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.toml");
    fs::write(&file, "[http\naddress = ").unwrap();
    let env = [("APP_CONFIG", file.to_str().unwrap())];
    let error = Config::load(&inputs(folder.path(), &env)).expect_err("broken");
    assert!(matches!(&error, ConfigError::File { path, .. } if path.ends_with("broken.toml")));
    // The parser would show the line; it may be the one with the key.
    fs::write(&file, "[admin]\nkey = \"hunter2hunter2hunter2").unwrap();
    let message = Config::load(&inputs(folder.path(), &env))
        .expect_err("broken")
        .to_string();
    assert!(message.contains("line 2"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}
