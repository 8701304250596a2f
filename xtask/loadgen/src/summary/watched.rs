//! What the server used while it was measured, from samples on its own clock.

use std::ops::Range;
use std::time::Duration;

use super::{ServerSummary, TimelineRow};
use crate::{Sample, Server, Stopped, Usage};

/// A server under measurement, as it was watched.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// What it used, oldest first, from its start until after the measurement.
    pub samples: Vec<Sample>,
    /// When the measurement began, on the clock of the samples.
    pub from: Duration,
    /// From starting the program to its first 200.
    pub ready_after: Duration,
    /// Cores that it may use.
    pub cores: usize,
    /// Highest resident memory as the system itself recorded it, in bytes; samples may miss a short peak.
    pub rss_peak_bytes: Option<u64>,
    /// How it ended, if it was stopped by us.
    pub stopped: Option<Stopped>,
}

impl Watched {
    /// What is known of `server` right after a run whose measurement began at `from`.
    pub fn of(server: &Server, from: std::time::Instant, cores: usize) -> Self {
        Self {
            samples: server.samples(),
            from: from.saturating_duration_since(server.started()),
            ready_after: server.ready_after(),
            cores,
            rss_peak_bytes: server.usage().ok().map(|usage: Usage| usage.rss_peak_bytes),
            stopped: None,
        }
    }

    /// Writes the server's columns of a timeline: of each second what was seen at its end.
    pub(super) fn fill(&self, timeline: &mut [TimelineRow]) {
        for row in timeline {
            let start = self.from + Duration::from_secs(row.t);
            let end = start + Duration::from_secs(1);
            let Some(last) = self.samples.iter().rfind(|sample| sample.at <= end) else {
                continue;
            };
            if last.at <= start {
                continue;
            }
            row.rss_bytes = Some(last.rss_bytes);
            row.threads = Some(last.threads);
            row.fds = Some(last.fds);
            row.cpu = self
                .cpu(start, last.at)
                .map(|cpu| cpu.as_secs_f64() / (last.at - start).as_secs_f64());
        }
    }

    /// CPU time between two moments; between samples it is taken to grow evenly.
    fn cpu(&self, from: Duration, to: Duration) -> Option<Duration> {
        let at = |moment: Duration| {
            let next = self.samples.partition_point(|sample| sample.at < moment);
            let after = self.samples.get(next)?;
            let Some(before) = next.checked_sub(1).map(|before| &self.samples[before]) else {
                return Some(after.cpu);
            };
            let part = (moment - before.at).as_secs_f64() / (after.at - before.at).as_secs_f64();
            Some(before.cpu + after.cpu.saturating_sub(before.cpu).mul_f64(part))
        };
        Some(at(to)?.saturating_sub(at(from)?))
    }
}

impl ServerSummary {
    /// What was used within `window`, in which `ended` requests ended.
    pub(super) fn of(watched: &Watched, window: Range<Duration>, ended: u64) -> Self {
        let samples = &watched.samples;
        let within: Vec<&Sample> = samples
            .iter()
            .filter(|sample| window.contains(&sample.at))
            .collect();
        let last = samples.last().map_or(Duration::ZERO, |sample| sample.at);
        let end = window.end.min(last);
        let cpu = watched
            .cpu(window.start, end)
            .unwrap_or_default()
            .as_secs_f64();
        let elapsed = end.saturating_sub(window.start).as_secs_f64();
        let start = samples
            .iter()
            .find(|sample| sample.at >= watched.ready_after);
        let mut memory: Vec<u64> = within.iter().map(|sample| sample.rss_bytes).collect();
        memory.sort_unstable();
        Self {
            ready_ms: watched.ready_after.as_secs_f64() * 1e3,
            cpu_us_per_request: match ended {
                0 => 0.0,
                ended => cpu * 1e6 / ended as f64,
            },
            cpu_share: if elapsed > 0.0 {
                cpu / elapsed / watched.cores.max(1) as f64
            } else {
                0.0
            },
            rss_start_bytes: start.map_or(0, |sample| sample.rss_bytes),
            rss_steady_bytes: memory.get(memory.len() / 2).copied().unwrap_or(0),
            rss_peak_bytes: memory
                .last()
                .copied()
                .max(watched.rss_peak_bytes)
                .unwrap_or(0),
            pss_bytes: within.iter().rev().find_map(|sample| sample.pss_bytes),
            threads: within
                .iter()
                .map(|sample| sample.threads)
                .max()
                .unwrap_or(0),
            fds: within.iter().map(|sample| sample.fds).max().unwrap_or(0),
            shutdown_ms: watched
                .stopped
                .as_ref()
                .map(|stopped| stopped.took.as_secs_f64() * 1e3),
            shutdown_failed: watched
                .stopped
                .as_ref()
                .map(|stopped| stopped.requests_failed),
            pool_wait_share: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready after 1 s, then half a core; memory grows by a byte each 100 ms.
    fn watched() -> Watched {
        let sample = |tick: u64| Sample {
            at: Duration::from_millis(tick * 100),
            cpu: Duration::from_millis(tick * 50),
            rss_bytes: 1_000 + tick,
            threads: 3,
            fds: 9,
            ..Sample::default()
        };
        Watched {
            samples: (0..=50).map(sample).collect(),
            from: Duration::from_millis(2_050),
            ready_after: Duration::from_secs(1),
            cores: 2,
            ..Watched::default()
        }
    }

    #[test]
    fn cpu_is_counted_within_the_measurement_only() {
        let watched = watched();
        let window = watched.from..watched.from + Duration::from_secs(2);
        let server = ServerSummary::of(&watched, window, 1_000);
        assert!(
            (server.cpu_us_per_request - 1_000.0).abs() < 0.1,
            "{server:?}"
        );
        assert!((server.cpu_share - 0.25).abs() < 1e-6, "{server:?}");
        assert_eq!(
            (server.rss_start_bytes, server.rss_steady_bytes),
            (1_010, 1_031)
        );
        assert_eq!(
            (server.rss_peak_bytes, server.threads, server.fds),
            (1_040, 3, 9)
        );
    }

    #[test]
    fn a_peak_between_samples_is_known_to_the_system() {
        let watched = Watched {
            rss_peak_bytes: Some(5_000),
            ..watched()
        };
        let window = watched.from..watched.from + Duration::from_secs(2);
        assert_eq!(ServerSummary::of(&watched, window, 1).rss_peak_bytes, 5_000);
    }

    #[test]
    fn a_server_that_ended_early_leaves_the_rest_of_the_timeline_empty() {
        let row = |t| TimelineRow {
            t,
            ..TimelineRow::default()
        };
        let mut rows: Vec<TimelineRow> = (0..4).map(row).collect();
        watched().fill(&mut rows);
        assert_eq!(rows[0].rss_bytes, Some(1_030));
        assert!(
            (rows[0].cpu.expect("watched") - 0.5).abs() < 1e-6,
            "{:?}",
            rows[0]
        );
        // The last sample is 950 ms into the third second.
        assert_eq!(rows[2].rss_bytes, Some(1_050));
        assert_eq!(rows[3].rss_bytes, None);
        assert_eq!(rows[3].cpu, None);
    }

    #[test]
    fn without_samples_nothing_is_made_up() {
        let nothing = Watched {
            cores: 1,
            ..Watched::default()
        };
        let server = ServerSummary::of(&nothing, Duration::ZERO..Duration::from_secs(1), 5);
        assert_eq!(server, ServerSummary::default());
    }
}
