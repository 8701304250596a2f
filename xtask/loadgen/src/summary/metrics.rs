//! A run as `METRIC` lines, which every bench prints and every report is made from.

use super::{LatencySummary, Summary, interval};

impl Summary {
    /// `METRIC suite name subject metric unit value low high samples` for each number that is known. The three words
    /// hold no spaces.
    pub fn metric_lines(&self, suite: &str, name: &str, subject: &str) -> Vec<String> {
        let mut lines = Lines {
            prefix: format!("METRIC {suite} {name} {subject}"),
            lines: Vec::new(),
        };
        self.requests(&mut lines);
        lines.latency(
            "response",
            &self.response_us,
            &["p50", "p95", "p99", "p999"],
        );
        lines.latency("service", &self.service_us, &["p50", "p99"]);
        lines.latency("send_lag", &self.send_lag_us, &["p99"]);
        self.server(&mut lines);
        lines.lines
    }

    fn requests(&self, lines: &mut Lines) {
        let whole = self.duration_s.floor() as u64;
        let full = self.timeline.iter().filter(|row| row.t < whole);
        let rates: Vec<f64> = full
            .map(|row| row.ended.saturating_sub(row.failed) as f64)
            .collect();
        lines.push(
            "rate",
            "req/s",
            self.rate,
            interval::mean(&rates),
            rates.len() as u64,
        );
        if self.ended > 0 {
            let ended = self.ended as f64;
            let bounds = interval::share(self.success * ended, ended);
            lines.push("success", "ratio", self.success, Some(bounds), self.ended);
        }
    }

    fn server(&self, lines: &mut Lines) {
        let Some(server) = &self.server else {
            return;
        };
        let costs: Vec<f64> = self
            .timeline
            .iter()
            .filter(|row| row.ended > 0)
            .filter_map(|row| row.cpu.map(|cpu| cpu * 1e6 / row.ended as f64))
            .collect();
        let samples = costs.len() as u64;
        lines.push(
            "cpu_per_request",
            "us",
            server.cpu_us_per_request,
            interval::mean(&costs),
            samples,
        );
        lines.push("rss_start", "bytes", server.rss_start_bytes as f64, None, 1);
        lines.push(
            "rss_steady",
            "bytes",
            server.rss_steady_bytes as f64,
            None,
            1,
        );
        lines.push("rss_peak", "bytes", server.rss_peak_bytes as f64, None, 1);
        lines.push("ready", "ms", server.ready_ms, None, 1);
        if let Some(shutdown) = server.shutdown_ms {
            lines.push("shutdown", "ms", shutdown, None, 1);
        }
        if let Some(failed) = server.shutdown_failed {
            lines.push("shutdown_failed", "count", failed as f64, None, 1);
        }
    }
}

struct Lines {
    prefix: String,
    lines: Vec<String>,
}

impl Lines {
    /// An interval of a mean is around another number than a value over the whole run: it always takes the value in.
    fn push(
        &mut self,
        metric: &str,
        unit: &str,
        value: f64,
        bounds: Option<[f64; 2]>,
        samples: u64,
    ) {
        let [low, high] = bounds.unwrap_or([value; 2]);
        let number = |number: f64| format!("{:.6}", number).parse::<f64>().unwrap_or(number);
        self.lines.push(format!(
            "{} {metric} {unit} {} {} {} {samples}",
            self.prefix,
            number(value),
            number(low.min(value).max(0.0)),
            number(high.max(value)),
        ));
    }

    fn latency(&mut self, kind: &str, latency: &LatencySummary, percentiles: &[&str]) {
        for &name in percentiles {
            if let Some(value) = latency.percentile(name) {
                let bounds = latency.intervals.get(name).copied();
                self.push(
                    &format!("{kind}_{name}"),
                    "us",
                    value,
                    bounds,
                    latency.samples,
                );
            }
        }
    }
}

impl LatencySummary {
    /// A percentile by its name, `p50`, `p95`, `p99` or `p999`, if there were enough samples.
    pub fn percentile(&self, name: &str) -> Option<f64> {
        match name {
            "p50" => self.p50,
            "p95" => self.p95,
            "p99" => self.p99,
            "p999" => self.p999,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use expect_test::expect;

    use super::*;
    use crate::{ServerSummary, TimelineRow};

    fn summary() -> Summary {
        let latency = LatencySummary {
            samples: 4_000,
            p50: Some(312.0),
            p95: Some(598.0),
            p99: Some(1_204.0),
            intervals: BTreeMap::from([("p99".to_owned(), [1_100.0, 1_350.0])]),
            ..LatencySummary::default()
        };
        let second = |t: u64, ended| TimelineRow {
            t,
            ended,
            cpu: Some(0.05),
            ..TimelineRow::default()
        };
        Summary {
            duration_s: 4.0,
            rate: 1_000.0,
            ended: 4_000,
            success: 1.0,
            response_us: latency.clone(),
            service_us: latency,
            timeline: vec![
                second(0, 990),
                second(1, 1_010),
                second(2, 1_000),
                second(3, 1_000),
            ],
            ..Summary::default()
        }
    }

    #[test]
    fn what_is_known_is_one_line_each() {
        let lines = summary()
            .metric_lines("cached-read", "open", "ours")
            .join("\n");
        expect![[r#"
            METRIC cached-read open ours rate req/s 1000 987.489917 1012.510083 4
            METRIC cached-read open ours success ratio 1 0.999041 1 4000
            METRIC cached-read open ours response_p50 us 312 312 312 4000
            METRIC cached-read open ours response_p95 us 598 598 598 4000
            METRIC cached-read open ours response_p99 us 1204 1100 1350 4000
            METRIC cached-read open ours service_p50 us 312 312 312 4000
            METRIC cached-read open ours service_p99 us 1204 1100 1350 4000"#]]
        .assert_eq(&lines);
    }

    #[test]
    fn a_watched_server_adds_its_lines() {
        let server = ServerSummary {
            ready_ms: 33.4,
            cpu_us_per_request: 50.0,
            rss_start_bytes: 1 << 20,
            rss_steady_bytes: 2 << 20,
            rss_peak_bytes: 3 << 20,
            shutdown_ms: Some(12.0),
            shutdown_failed: Some(0),
            ..ServerSummary::default()
        };
        let with = Summary {
            server: Some(server),
            ..summary()
        }
        .metric_lines("s", "n", "x");
        let without = summary().metric_lines("s", "n", "x");
        let added: Vec<String> = with
            .into_iter()
            .filter(|line| !without.contains(line))
            .collect();
        expect![[r#"
            METRIC s n x cpu_per_request us 50 49.376918 50.628083 4
            METRIC s n x rss_start bytes 1048576 1048576 1048576 1
            METRIC s n x rss_steady bytes 2097152 2097152 2097152 1
            METRIC s n x rss_peak bytes 3145728 3145728 3145728 1
            METRIC s n x ready ms 33.4 33.4 33.4 1
            METRIC s n x shutdown ms 12 12 12 1
            METRIC s n x shutdown_failed count 0 0 0 1"#]]
        .assert_eq(&added.join("\n"));
    }

    #[test]
    fn an_empty_run_has_no_success() {
        let lines = Summary::default().metric_lines("s", "n", "x");
        assert_eq!(lines, ["METRIC s n x rate req/s 0 0 0 0"]);
    }
}
