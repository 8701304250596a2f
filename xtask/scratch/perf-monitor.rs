//! Uses `perf-monitor` from a project of its own, as a stranger would.

use perf_monitor::{Monitor, MonitorConfig};

fn measure() -> Result<usize, Box<dyn std::error::Error>> {
    let monitor = Monitor::new(MonitorConfig::default())?;
    monitor.probe("queue", |sample| sample.gauge("waiting", 3.0));
    Ok(monitor.prometheus().len())
}

fn main() {
    // Needs a runtime, which this project does not have.
    let _ = measure;
}
