//! What goes through the `metrics` facade: bounded, drained, never a summary.

use std::time::Duration;

use perf_monitor::{Monitor, MonitorConfig};
use tokio::runtime::Handle;

use crate::exposition::{Exposition, check_with_promtool};

#[tokio::test(start_paused = true)]
async fn samples_are_drained_every_five_seconds_when_nobody_scrapes() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let seconds = monitor.with(|| metrics::histogram!("work_seconds"));
    for _ in 0..600 {
        (0..100).for_each(|_| seconds.record(0.003));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // The first scrape of all: without upkeep 60,000 samples would wait now, since the limit of
    // 65,536 at which a recording thread drains was never reached.
    let shown = Exposition::parse(&monitor.prometheus());
    let pending = shown.value("perf_monitor_pending_samples").unwrap();
    assert!(pending <= 600.0, "{pending} samples wait");
    assert_eq!(shown.value("work_seconds_count"), Some(60_000.0));
}

#[tokio::test(start_paused = true)]
async fn the_background_tasks_end_by_themselves_when_the_monitor_is_gone() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 2);
    drop(monitor);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[test]
fn histograms_have_buckets_and_are_no_summaries() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    monitor.with(|| {
        metrics::histogram!("work_seconds").record(0.0002);
        metrics::histogram!("work_seconds").record(30.0);
        metrics::histogram!("upload_bytes").record(1000.0);
    });
    let text = monitor.prometheus();
    let shown = Exposition::parse(&text);
    check_with_promtool(&text);
    for (bound, count) in [
        ("0.0001", 0.0),
        ("0.00025", 1.0),
        ("10", 1.0),
        ("+Inf", 2.0),
    ] {
        assert_eq!(
            shown.sum("work_seconds_bucket", &[("le", bound)]),
            count,
            "{bound}"
        );
    }
    assert_eq!(shown.sum("upload_bytes_bucket", &[("le", "256")]), 0.0);
    assert_eq!(shown.sum("upload_bytes_bucket", &[("le", "1024")]), 1.0);
    assert!(!text.contains("quantile"));
}

#[test]
fn names_of_the_monitor_itself_cannot_be_taken() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    monitor.with(|| {
        metrics::counter!("process_cpu_seconds_total").increment(77);
        metrics::gauge!("build_info").set(9.0);
        metrics::counter!("twice").increment(1);
        metrics::gauge!("twice").set(2.0);
    });
    let shown = Exposition::parse(&monitor.prometheus());
    assert_eq!(shown.value("perf_monitor_dropped_series_total"), Some(2.0));
    assert_eq!(shown.sum("build_info", &[]), 1.0);
    assert!(shown.value("twice").is_some());
}

#[test]
fn the_text_is_the_same_whatever_the_order_of_registration() {
    let text = |order: &[u32]| {
        let monitor = Monitor::new(MonitorConfig::default()).unwrap();
        monitor.with(|| {
            for n in order {
                metrics::counter!("calls_total", "n" => n.to_string()).increment(1);
                metrics::histogram!("call_seconds", "n" => n.to_string()).record(0.1);
            }
        });
        let text = monitor.prometheus();
        let volatile = |line: &&str| !line.starts_with("process_");
        text.lines()
            .filter(volatile)
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    assert_eq!(text(&[1, 2, 3, 4, 5]), text(&[4, 2, 5, 3, 1]));
}

#[tokio::test]
async fn a_guard_makes_the_monitor_the_recorder_across_awaits() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    {
        let _guard = monitor.enter();
        tokio::task::yield_now().await;
        metrics::counter!("inside_total").increment(1);
    }
    metrics::counter!("outside_total").increment(1);
    let shown = Exposition::parse(&monitor.prometheus());
    assert_eq!(shown.value("inside_total"), Some(1.0));
    assert_eq!(shown.value("outside_total"), None);
}
