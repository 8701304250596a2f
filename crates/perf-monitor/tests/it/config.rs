//! The configuration: what is refused, and how it looks in a file.

use std::time::Duration;

use perf_monitor::{Monitor, MonitorConfig, MonitorError};

#[test]
fn a_value_that_cannot_work_is_refused_with_its_name_and_itself() {
    let base = MonitorConfig::default;
    let cases = [
        (
            MonitorConfig {
                interval: Duration::ZERO,
                ..base()
            },
            "interval = 0s",
        ),
        (
            MonitorConfig {
                interval: Duration::MAX,
                ..base()
            },
            "interval = ",
        ),
        (
            MonitorConfig {
                max_http_series: 0,
                ..base()
            },
            "max_http_series = 0",
        ),
        (
            MonitorConfig {
                max_facade_series: 0,
                ..base()
            },
            "max_facade_series = 0",
        ),
        (
            MonitorConfig {
                max_probes: 0,
                ..base()
            },
            "max_probes = 0",
        ),
    ];
    for (config, expected) in cases {
        let error = Monitor::new(config).expect_err("refused");
        assert!(matches!(error, MonitorError::Config { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn durations_are_text_and_unknown_keys_are_errors() {
    let config: MonitorConfig = serde_json::from_str(r#"{"interval": "1m 30s"}"#).unwrap();
    assert_eq!(config.interval, Duration::from_secs(90));
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<MonitorConfig>(&text).unwrap(),
        config
    );

    assert!(serde_json::from_str::<MonitorConfig>(r#"{"intervall": "60s"}"#).is_err());
    let error = serde_json::from_str::<MonitorConfig>(r#"{"interval": "soon"}"#).unwrap_err();
    assert!(error.to_string().contains("\"soon\""), "{error}");
}
