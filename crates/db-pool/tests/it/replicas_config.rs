//! Settings of a set of servers: what is refused, how they read as text, and that no password leaks.

use std::time::Duration;

use db_pool::ReplicasConfig;

#[test]
fn settings_that_cannot_work_are_refused_by_field_and_value() {
    type Change = fn(&mut ReplicasConfig);
    let cases: [(&str, &str, Change); 9] = [
        ("servers", "[]", |c| c.servers.clear()),
        ("servers", "a:5432", |c| {
            c.servers = vec!["postgres://a,b,a/d".into()];
        }),
        ("servers", "sqlite:a.db", |c| {
            c.servers.push("sqlite:a.db".into());
        }),
        (
            "servers",
            "postgres://h/d?target_session_attrs=read-write",
            |c| {
                c.servers = vec!["postgres://h/d?target_session_attrs=read-write".into()];
            },
        ),
        ("servers", "postgres://u:***@a,,b/d", |c| {
            c.servers = vec!["postgres://u:secret@a,,b/d".into()];
        }),
        ("pool.url", "postgres://h/d", |c| {
            c.pool.url = "postgres://h/d".into();
        }),
        ("max_size", "0", |c| c.pool.max_size = 0),
        ("probe_interval", "0s", |c| {
            c.probe_interval = Duration::ZERO;
        }),
        ("ban_most", "1ms", |c| c.ban_most = Duration::from_millis(1)),
    ];
    for (field, value, change) in cases {
        let mut config = ReplicasConfig::new(["postgres://u@one,two:6000,[::1],[::1]:6000/d"]);
        assert_eq!(config.validate(), Ok(()));
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert_eq!((error.field(), error.value()), (field, value), "{error}");
    }
}

#[test]
fn servers_are_urls_or_whole_pools_in_text() {
    let text = r#"{
        "servers": ["postgres://u:secret@one,two/d", { "url": "postgres://u:secret@three/d", "max_size": 3 }],
        "pool": { "max_size": 7 }, "max_lag": "off", "max_lag_bytes": "off", "primary_reads": "never"
    }"#;
    let config: ReplicasConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.servers.len(), config.pool.max_size), (2, 7));
    assert_eq!((config.max_lag, config.max_lag_bytes), (None, None));
    let shown = format!("{config:?}{}", serde_json::to_string(&config).unwrap());
    assert!(
        !shown.contains("secret") && shown.contains("u:***@one,two"),
        "{shown}"
    );
    let odd = r#"{ "servers": [{ "url": "postgres://h/d", "max_sise": 3 }] }"#;
    let error = serde_json::from_str::<ReplicasConfig>(odd).unwrap_err();
    assert!(error.to_string().contains("max_sise"), "{error}");
}
