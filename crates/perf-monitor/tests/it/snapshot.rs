//! The shape of the JSON snapshot, which scripts depend on.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use expect_test::expect;
use perf_monitor::{Monitor, MonitorConfig};
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[tokio::test(start_paused = true)]
async fn the_json_has_this_shape() {
    let monitor = Monitor::new(MonitorConfig {
        service: "shop".into(),
        version: "1.2.3".into(),
        revision: "abc".into(),
        ..MonitorConfig::default()
    })
    .unwrap();
    monitor.probe("db", |sample| sample.gauge("in_use", 3.0));
    let app = Router::new()
        .route("/items/{id}", get(|| async {}))
        .layer(monitor.layer());
    app.oneshot(Request::get("/items/1").body(Body::empty()).unwrap())
        .await
        .unwrap();

    let mut value = serde_json::to_value(monitor.snapshot()).unwrap();
    value["taken_at"] = json!("seconds since 1970");
    if let Value::Object(process) = &mut value["process"] {
        process
            .values_mut()
            .for_each(|value| *value = json!("number"));
    } else {
        // A system without a `/proc`.
        value["process"] = serde_json::from_str(PROCESS).unwrap();
    }
    expect![[r#"
        {
          "http": {
            "active": 0,
            "received": 1,
            "routes": [
              {
                "aborted": 0,
                "count": 1,
                "errors": 0,
                "method": "GET",
                "p50": 1.056e-6,
                "p95": 1.056e-6,
                "p99": 1.056e-6,
                "route": "/items/{id}"
              }
            ]
          },
          "monitor": {
            "dropped_probe_values": 0,
            "dropped_series": 0,
            "http_overflow": 0,
            "probe_failures": 0,
            "refused_probes": 0
          },
          "probes": {
            "db": {
              "in_use": 3.0
            }
          },
          "process": {
            "cpu_seconds": "number",
            "max_fds": "number",
            "open_fds": "number",
            "resident_bytes": "number",
            "start_time": "number",
            "threads": "number",
            "virtual_bytes": "number"
          },
          "schema_version": 1,
          "service": {
            "name": "shop",
            "revision": "abc",
            "version": "1.2.3"
          },
          "taken_at": "seconds since 1970",
          "uptime": 0.0
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&value).unwrap());
}

const PROCESS: &str = r#"{"cpu_seconds": "number", "resident_bytes": "number",
    "virtual_bytes": "number", "open_fds": "number", "max_fds": "number", "threads": "number",
    "start_time": "number"}"#;
