//! The process's own numbers; the whole module is about systems with a `/proc`.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::time::{Duration, SystemTime};

use perf_monitor::{Monitor, MonitorConfig};

use crate::exposition::{Exposition, check_with_promtool};

#[test]
fn the_numbers_are_plausible_and_have_the_standard_names() {
    let text = Monitor::new(MonitorConfig::default()).unwrap().prometheus();
    let shown = Exposition::parse(&text);
    check_with_promtool(&text);
    let value = |name| shown.value(name).expect(name);
    let mib = 1024.0 * 1024.0;
    let resident = value("process_resident_memory_bytes");
    assert!(resident > mib && resident < 1024.0 * mib, "{resident}");
    assert!(value("process_virtual_memory_bytes") >= resident);
    assert!(value("process_open_fds") > 0.0);
    assert!(value("process_threads") >= 1.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    if let Some(max_fds) = shown.value("process_max_fds") {
        assert!(max_fds >= value("process_open_fds"));
    }
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let age = now - value("process_start_time_seconds");
    assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_reused_for_a_second_and_then_taken_anew() {
    let monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let open = || {
        monitor
            .snapshot()
            .process
            .expect("there is a /proc")
            .open_fds
    };
    let before = monitor.snapshot().process;
    // Far more than what other tests of this binary open and close meanwhile.
    let files: Vec<File> = (0..200)
        .map(|_| File::open("/proc/self/stat").unwrap())
        .collect();
    assert_eq!(monitor.snapshot().process, before, "within the second");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(open() >= before.unwrap().open_fds + 100, "after the second");
    drop(files);
}

/// The kernel cuts a program's name after 15 bytes, even in the middle of a letter.
#[test]
fn a_program_name_that_is_no_text_costs_no_metrics() {
    let name = std::fs::read("/proc/self/comm").expect("there is a /proc");
    std::fs::write("/proc/self/comm", b"caf\xc3").expect("a process may rename itself");
    let usage = Monitor::new(MonitorConfig::default())
        .unwrap()
        .snapshot()
        .process;
    std::fs::write("/proc/self/comm", name).expect("a process may rename itself");
    assert!(usage.is_some());
}
