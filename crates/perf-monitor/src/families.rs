//! The families of the text format that are made of plain numbers: build, probes, process, own health.

use crate::config::MonitorConfig;
use crate::probe::Reading;
use crate::snapshot::{OwnHealth, ProcessUsage};
use crate::text::Document;

pub(crate) fn write_build(document: &mut Document, config: &MonitorConfig) {
    let labels = [
        ("service", config.service.as_str()),
        ("version", &config.version),
        ("revision", &config.revision),
    ];
    document
        .family("build_info", "gauge", "Which build this is; always 1.")
        .sample("", &labels, 1);
}

pub(crate) fn write_probes(document: &mut Document, readings: &[Reading]) {
    let help = "What the probes of the service report.";
    let mut values = document.family("perf_monitor_probe_value", "gauge", help);
    for reading in readings {
        for (name, value) in reading.values.iter().flatten() {
            values.sample("", &[("probe", &reading.name), ("name", name)], value);
        }
    }
    let help = "Panics of probes.";
    let mut failures = document.family("perf_monitor_probe_failures_total", "counter", help);
    for reading in readings {
        failures.sample("", &[("probe", &reading.name)], reading.failures);
    }
}

/// Writes what the monitor had to leave out; panics of probes are written with the probes.
pub(crate) fn write_own_health(document: &mut Document, health: &OwnHealth) {
    for (name, help, value) in [
        (
            "perf_monitor_dropped_series_total",
            "Refused attempts to register a series.",
            health.dropped_series,
        ),
        (
            "perf_monitor_http_overflow_total",
            "Records of HTTP requests that went to the route __other__.",
            health.http_overflow,
        ),
        (
            "perf_monitor_refused_probes_total",
            "Refused probes.",
            health.refused_probes,
        ),
        (
            "perf_monitor_dropped_probe_values_total",
            "Values of probes that were left out.",
            health.dropped_probe_values,
        ),
    ] {
        document
            .family(name, "counter", help)
            .sample("", &[], value);
    }
}

pub(crate) fn write_pending(document: &mut Document, samples: u64) {
    let help = "Samples of histograms that wait to be drained.";
    document
        .family("perf_monitor_pending_samples", "gauge", help)
        .sample("", &[], samples);
}

pub(crate) fn write_process(document: &mut Document, process: &ProcessUsage) {
    let help = "Total user and system CPU time spent in seconds.";
    document
        .family("process_cpu_seconds_total", "counter", help)
        .sample("", &[], process.cpu_seconds);
    for (name, help, value) in [
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Number of open file descriptors.",
            process.open_fds,
        ),
        (
            "process_threads",
            "Number of OS threads in the process.",
            process.threads,
        ),
    ] {
        document.family(name, "gauge", help).sample("", &[], value);
    }
    if let Some(max_fds) = process.max_fds {
        let help = "Maximum number of open file descriptors.";
        document
            .family("process_max_fds", "gauge", help)
            .sample("", &[], max_fds);
    }
    let help = "Start time of the process since the Unix epoch in seconds.";
    document
        .family("process_start_time_seconds", "gauge", help)
        .sample("", &[], process.start_time);
}
