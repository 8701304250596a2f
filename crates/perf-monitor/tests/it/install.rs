//! The one global monitor of a process.

use perf_monitor::{Monitor, MonitorConfig, MonitorError};

#[test]
fn install_takes_the_facade_once_and_a_second_one_is_a_typed_error() {
    let outside = Monitor::install(MonitorConfig::default()).expect_err("no runtime here");
    assert!(matches!(outside, MonitorError::NoRuntime), "{outside}");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let monitor = Monitor::install(MonitorConfig::default()).expect("the first one");
    metrics::counter!("installed_total").increment(3);
    assert!(monitor.prometheus().contains("installed_total 3\n"));

    let second = Monitor::install(MonitorConfig::default()).expect_err("the second one");
    assert!(second.is_already_installed(), "{second}");
    assert!(
        monitor.prometheus().contains("installed_total 3\n"),
        "the first one goes on"
    );
    assert_eq!(
        runtime.metrics().num_alive_tasks(),
        2,
        "a failed install spawns nothing"
    );
}
