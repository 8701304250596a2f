//! The JSON view of a monitor: plain data with a version of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything a monitor knows at one moment.
///
/// Fields are only added while `schema_version` stays the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of this shape; 1 now.
    pub schema_version: u32,
    /// When it was taken: seconds since 1970 in UTC.
    pub taken_at: f64,
    /// Seconds since the monitor was built.
    pub uptime: f64,
    /// Which build this is.
    pub service: ServiceInfo,
    /// The process, if the system has a `/proc`.
    pub process: Option<ProcessUsage>,
    /// HTTP requests since the monitor was built; all zero without the feature `http`.
    pub http: HttpSummary,
    /// The values of each probe by its name; a probe that panicked is left out.
    pub probes: BTreeMap<String, BTreeMap<String, f64>>,
    /// What the monitor had to leave out to stay within its bounds.
    pub monitor: OwnHealth,
}

/// Which build this is, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The service's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The revision it was built from.
    pub revision: String,
}

/// What the kernel says about this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessUsage {
    /// Processor time in user and system mode, in seconds, to 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The soft limit of file descriptors; `None` when unlimited.
    pub max_fds: Option<u64>,
    /// Operating system threads.
    pub threads: u64,
    /// When the process started: seconds since 1970 in UTC.
    pub start_time: f64,
}

/// HTTP requests since the monitor was built.
///
/// The numbers are read one after the other while requests go on, so sums may differ by those in
/// flight; once the service is idle, `received` is the sum of all `count`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HttpSummary {
    /// Requests that arrived.
    pub received: u64,
    /// Requests whose response has not ended.
    pub active: u64,
    /// Ended requests by route and method, sorted by both.
    pub routes: Vec<RouteSummary>,
}

/// The ended requests of one method of one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouteSummary {
    /// The method, `_OTHER` for unknown ones.
    pub method: String,
    /// The route's template, `__unmatched__` or `__other__`.
    pub route: String,
    /// Ended requests, however they ended.
    pub count: u64,
    /// Those with a status of 500 or above, a failed service, a failed body or a panic.
    pub errors: u64,
    /// Those that the client gave up, before the head or in the middle of the body.
    pub aborted: u64,
    /// The median duration in seconds, within 3.2 %.
    pub p50: f64,
    /// The 95th percentile of the duration in seconds, within 3.2 %.
    pub p95: f64,
    /// The 99th percentile of the duration in seconds, within 3.2 %.
    pub p99: f64,
}

/// What a monitor had to leave out to stay within its bounds; all zero is healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnHealth {
    /// Records of HTTP requests that went to the route `__other__`.
    pub http_overflow: u64,
    /// Attempts to register a series through the `metrics` facade that were refused.
    pub dropped_series: u64,
    /// Probes that were refused.
    pub refused_probes: u64,
    /// Values of probes that were left out.
    pub dropped_probe_values: u64,
    /// Panics of probes.
    pub probe_failures: u64,
}
