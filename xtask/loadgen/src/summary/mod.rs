//! What is kept of a run: numbers for a person, for JSON and for `METRIC` lines.

mod build;
mod cap;
mod interval;
mod metrics;
mod watched;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use watched::Watched;

/// One run, as JSON. Every latency is in microseconds; a percentile with too few samples to mean anything is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// What was asked: a URL, a database, a cache.
    pub target: String,
    /// The model in words: `closed, 8 users` or `open, poisson 2000/s`.
    pub model: String,
    /// Users of a closed model.
    pub users: Option<u64>,
    /// Where the choices started.
    pub seed: u64,
    /// How long was measured, in seconds.
    pub duration_s: f64,
    /// Requests per second that an open model asked for, on average.
    pub offered_rate: Option<f64>,
    /// Requests per second that ended well.
    pub rate: f64,
    /// Requests that ended.
    pub ended: u64,
    /// Share of them that ended well, 0 to 1.
    pub success: f64,
    /// Requests that never found a connection.
    pub unsent: u64,
    /// Failed requests by class.
    pub errors: BTreeMap<String, u64>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From the intended moment to the last byte.
    pub response_us: LatencySummary,
    /// From sending to the last byte.
    pub service_us: LatencySummary,
    /// From sending to the first byte.
    pub first_byte_us: LatencySummary,
    /// How late the generator was.
    pub send_lag_us: LatencySummary,
    /// Share of one core that the busiest generator thread used.
    pub generator_cpu: f64,
    /// Cores that the server may use, if we could see it.
    pub server_cores: Option<u64>,
    /// What the server used, if we could see it.
    pub server: Option<ServerSummary>,
    /// What kept the rate from being higher.
    pub capped_by: Cap,
    /// Why the run says nothing about its target, in words; empty for a valid run.
    pub invalid: Vec<String>,
    /// Whether it was ended early by us.
    pub interrupted: bool,
    /// The same for each route.
    pub routes: Vec<RouteSummary>,
    /// Each second.
    pub timeline: Vec<TimelineRow>,
}

/// Percentiles in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencySummary {
    /// How many were measured.
    pub samples: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile; needs 200 samples.
    pub p95: Option<f64>,
    /// 99th percentile; needs 1,000 samples.
    pub p99: Option<f64>,
    /// 99.9th percentile; needs 10,000 samples.
    pub p999: Option<f64>,
    /// The longest.
    pub max: f64,
    /// For each percentile above, by its name, where it is with 95 % confidence: order statistics, which need no
    /// assumption on the distribution.
    #[serde(default)]
    pub intervals: BTreeMap<String, [f64; 2]>,
}

/// What a server used during one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerSummary {
    /// From starting the program to its first 200, in milliseconds.
    pub ready_ms: f64,
    /// CPU time for each request that ended, in microseconds.
    pub cpu_us_per_request: f64,
    /// CPU time over elapsed time times the cores it may use: 1.0 is all of them.
    pub cpu_share: f64,
    /// Resident memory when ready, in bytes.
    pub rss_start_bytes: u64,
    /// Median of resident memory during the run, in bytes.
    pub rss_steady_bytes: u64,
    /// Highest resident memory until the end of the run, in bytes: since the server's start, or since somebody asked for
    /// its [`Usage`](crate::Usage).
    pub rss_peak_bytes: u64,
    /// Proportional share at the end, in bytes, where the system tells.
    pub pss_bytes: Option<u64>,
    /// Most threads.
    pub threads: u64,
    /// Most open file descriptors.
    pub fds: u64,
    /// From SIGTERM to its end, in milliseconds, where it was stopped by us.
    pub shutdown_ms: Option<f64>,
    /// Requests without an answer during the shutdown.
    pub shutdown_failed: Option<u64>,
    /// Share of their time that requests waited for a database connection, 0 to 1, where somebody asked the server.
    pub pool_wait_share: Option<f64>,
}

/// What kept a rate from being higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cap {
    /// The server used all the cores it may use.
    Cpu,
    /// The server's requests waited for a database connection.
    Pool,
    /// The server had CPU to spare and no pool to wait for: a lock, a disk or another server.
    Lock,
    /// The generator used all of its core.
    Generator,
    /// The offered rate itself: the server kept up.
    Rate,
    /// The users of a closed model: fewer requests under way than it takes to keep the server's cores busy.
    Users,
    /// Nothing shows it: the server's process could not be watched.
    #[default]
    Unknown,
}

/// One route of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RouteSummary {
    /// As the mix names it.
    pub name: String,
    /// Requests that ended.
    pub ended: u64,
    /// Share of them that ended well.
    pub success: f64,
    /// From the intended moment to the last byte.
    pub response_us: LatencySummary,
    /// From sending to the last byte.
    pub service_us: LatencySummary,
}

/// One second of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimelineRow {
    /// Seconds since the measurement began.
    pub t: u64,
    /// Requests that ended in this second, well or not.
    pub ended: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Median response time, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of the response time, in microseconds, of however few requests.
    pub p99_us: u64,
    /// 99th percentile of how late requests were sent, in microseconds (open model).
    pub send_lag_p99_us: u64,
    /// Resident memory of the server at the end of the second, in bytes.
    pub rss_bytes: Option<u64>,
    /// Share of one core that the server used.
    pub cpu: Option<f64>,
    /// Threads of the server.
    pub threads: Option<u64>,
    /// Open file descriptors of the server.
    pub fds: Option<u64>,
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_json_of_a_run_has_these_members() {
        let summary = Summary {
            server: Some(ServerSummary::default()),
            routes: vec![RouteSummary::default()],
            timeline: vec![TimelineRow::default()],
            ..Summary::default()
        };
        let json = serde_json::to_value(&summary).expect("numbers and texts");
        let names = |value: &serde_json::Value| {
            let object = value.as_object().expect("an object");
            // In the order of the alphabet, whatever features of serde_json somebody else asks for.
            let mut names: Vec<_> = object.keys().cloned().collect();
            names.sort();
            names.join(" ")
        };
        let parts = [
            &json,
            &json["response_us"],
            &json["server"],
            &json["routes"][0],
            &json["timeline"][0],
        ];
        expect![[r#"
            capped_by duration_s ended errors first_byte_us generator_cpu interrupted invalid model offered_rate rate response_us routes seed send_lag_us server server_cores service_us statuses success target timeline unsent users

            intervals max mean p50 p95 p99 p999 samples

            cpu_share cpu_us_per_request fds pool_wait_share pss_bytes ready_ms rss_peak_bytes rss_start_bytes rss_steady_bytes shutdown_failed shutdown_ms threads

            ended name response_us service_us success

            cpu ended failed fds p50_us p99_us rss_bytes send_lag_p99_us t threads"#]].assert_eq(&parts.map(names).join("\n\n"));
        assert_eq!(
            serde_json::from_value::<Summary>(json).expect("reads back"),
            summary
        );
    }
}
