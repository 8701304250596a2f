//! Probes: pulled when asked, bounded, and harmless when they panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use perf_monitor::{Monitor, MonitorConfig};

use crate::exposition::Exposition;

#[test]
fn a_probe_is_read_at_each_view_and_at_no_other_time() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    monitor.probe("db", move |sample| {
        sample.gauge(
            "reads",
            f64::from(counted.fetch_add(1, Ordering::Relaxed) + 1),
        );
    });
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(monitor.snapshot().probes["db"]["reads"], 1.0);
    let shown = Exposition::parse(&monitor.prometheus());
    assert_eq!(
        shown.sum(
            "perf_monitor_probe_value",
            &[("probe", "db"), ("name", "reads")]
        ),
        2.0
    );
}

#[test]
fn a_panicking_probe_does_not_break_a_scrape_and_is_counted() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    monitor.probe("broken", |sample| {
        sample.gauge("half", 1.0);
        panic!("probe fails on purpose");
    });
    monitor.probe("sound", |sample| sample.gauge("value", 7.0));
    for round in 1..=3 {
        let shown = Exposition::parse(&monitor.prometheus());
        assert_eq!(
            shown.sum("perf_monitor_probe_value", &[("probe", "sound")]),
            7.0
        );
        assert_eq!(
            shown.sum("perf_monitor_probe_value", &[("probe", "broken")]),
            0.0
        );
        let failures = shown.sum("perf_monitor_probe_failures_total", &[("probe", "broken")]);
        assert_eq!(failures, f64::from(round));
    }
    let snapshot = monitor.snapshot();
    assert_eq!(snapshot.probes.keys().collect::<Vec<_>>(), ["sound"]);
    assert_eq!(snapshot.monitor.probe_failures, 4);
}

#[test]
fn a_second_probe_of_a_name_replaces_the_first_and_too_many_are_refused() {
    let config = MonitorConfig {
        max_probes: 2,
        ..MonitorConfig::default()
    };
    let monitor = Monitor::new(config).unwrap();
    for value in 0..10 {
        monitor.probe("same", move |sample| {
            sample.gauge("value", f64::from(value));
        });
    }
    for n in 0..10 {
        monitor.probe(format!("probe {n}"), |sample| sample.gauge("value", 1.0));
    }
    let snapshot = monitor.snapshot();
    assert_eq!(snapshot.probes.len(), 2);
    assert_eq!(snapshot.probes["same"]["value"], 9.0);
    assert_eq!(snapshot.monitor.refused_probes, 9);
}

#[test]
fn values_that_json_cannot_carry_and_values_beyond_the_bound_are_left_out() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    monitor.probe("odd\"name\\\n", |sample| {
        sample.gauge("nan", f64::NAN);
        sample.gauge("infinite", f64::INFINITY);
        (0..100).for_each(|n| sample.gauge(format!("value {n:03}"), f64::from(n)));
        sample.gauge("value 000", 5.0);
    });
    let snapshot = monitor.snapshot();
    let values = &snapshot.probes["odd\"name\\\n"];
    assert_eq!((values.len(), values["value 000"]), (64, 5.0));
    assert_eq!(snapshot.monitor.dropped_probe_values, 2 + 36);
    let shown = Exposition::parse(&monitor.prometheus());
    let labels = [("probe", "odd\"name\\\n"), ("name", "value 063")];
    assert_eq!(shown.sum("perf_monitor_probe_value", &labels), 63.0);
}

#[test]
fn a_probe_may_register_another_one() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let inner = monitor.clone();
    monitor.probe("outer", move |_| {
        inner.probe("late", |sample| sample.gauge("value", 1.0));
    });
    let _ = monitor.snapshot();
    assert!(monitor.snapshot().probes.contains_key("late"));
}
