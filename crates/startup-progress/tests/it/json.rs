//! The JSON of a snapshot, whole: readers outside Rust depend on every name in it.

use std::time::Duration;

use expect_test::expect;
use serde_json::json;
use startup_progress::{Health, Progress, Snapshot};
use tokio::time::advance;

#[tokio::test(start_paused = true)]
async fn a_snapshot_has_this_shape() {
    let progress = Progress::new("reference-service");
    progress.check("database", || Health::Pass);
    progress.check("redis", || Health::Warn("not connected".to_owned()));
    progress.step("config").finish();
    let warm = progress.step("warm cache").stage("cache").total(100);
    advance(Duration::from_millis(120)).await;
    warm.advance(40);
    warm.message("records");
    progress.step("index").fail("disk full");
    let mut value = serde_json::to_value(progress.snapshot()).unwrap();
    // The two fields that no clock of a test controls.
    value["run"] = json!("the run");
    value["started_at_ms"] = json!(0);
    expect![[r#"
        {
          "checks": {
            "database": {
              "status": "pass"
            },
            "redis": {
              "detail": "not connected",
              "status": "warn"
            }
          },
          "elapsed_ms": 120,
          "omitted_steps": 0,
          "percent": 60,
          "ready_ms": null,
          "reason": null,
          "run": "the run",
          "seq": 14,
          "service": "reference-service",
          "started_at_ms": 0,
          "status": "starting",
          "steps": [
            {
              "current": 0,
              "dependencies": [],
              "error": null,
              "id": 0,
              "message": null,
              "name": "config",
              "stage": null,
              "started_ms": 0,
              "status": "done",
              "took_ms": 0,
              "total": null
            },
            {
              "current": 40,
              "dependencies": [],
              "error": null,
              "id": 1,
              "message": "records",
              "name": "warm cache",
              "stage": "cache",
              "started_ms": 0,
              "status": "running",
              "took_ms": null,
              "total": 100
            },
            {
              "current": 0,
              "dependencies": [],
              "error": "disk full",
              "id": 2,
              "message": null,
              "name": "index",
              "stage": null,
              "started_ms": 120,
              "status": "failed",
              "took_ms": 0,
              "total": null
            }
          ],
          "version": 1
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&value).unwrap());
    warm.finish();
}

#[test]
fn a_reader_ignores_fields_it_does_not_know() {
    let snapshot = Progress::new("test").snapshot();
    let mut value = serde_json::to_value(&snapshot).unwrap();
    value["eta_ms"] = json!(1_000);
    assert_eq!(serde_json::from_value::<Snapshot>(value).unwrap(), snapshot);
}
