//! A report with something of everything, for the tests of what is rendered; some of its words try to break out.

use harness::Metric;
use loadgen::{Cap, LatencySummary, ServerSummary, Summary, TimelineRow};

use super::{Collector, Report, Run};
use crate::environment::{Environment, Pressure};

/// Two micro benches, one service scenario in two models, start-up times, one invalid run.
pub(crate) fn sample() -> Report {
    let mut collector = Collector::default();
    services(&mut collector);
    startup(&mut collector);
    micro(&mut collector);
    collector.note("suite database-read: the peer <naive> ended & was left out");
    Report::new(environment(), collector, false)
}

fn environment() -> Environment {
    Environment {
        started_at: "2026-01-02T03:04:05Z".into(),
        ended_at: Some("2026-01-02T03:08:45Z".into()),
        os: "linux x86_64".into(),
        kernel: Some("6.18.44".into()),
        cpu: Some("AMD EPYC".into()),
        cores: 2,
        usable_cores: 2.0,
        memory_bytes: Some(25_276_510_208),
        virtualised: Some("virtual machine".into()),
        rustc: Some("rustc 1.95.0 (59807616e 2026-04-14)".into()),
        profile: "release".into(),
        git_revision: Some("2b0fed6c0d11".into()),
        git_dirty: Some(true),
        machine_class: "amd-epyc-f26m2-2c-32g-linux-x86-64".into(),
        pinned: true,
        noise_floor: Some(0.021),
        load_before: Some([0.12, 0.2, 0.3]),
        load_after: Some([1.82, 0.9, 0.5]),
        pressure_before: Some(pressure(0.5)),
        pressure_after: Some(pressure(12.4)),
        steal: Some(0.003),
        ..Environment::default()
    }
}

fn pressure(cpu: f64) -> Pressure {
    Pressure {
        cpu,
        memory: 0.0,
        io: 0.0,
    }
}

fn services(collector: &mut Collector) {
    for (subject, rate, p99) in [
        ("reference-service", 31_240.0, 780.0),
        ("bare-axum", 58_110.0, 410.0),
        ("plain-axum", 21_900.0, 1_320.0),
    ] {
        let mut closed = run("closed-16", subject, rate, p99 * 2.0);
        if subject == "bare-axum" {
            closed.summary.capped_by = Cap::Generator;
            closed.summary.invalid = vec!["the generator used 97 % of its core".into()];
        }
        let mut open = run("open-50", subject, 10_000.0, p99);
        open.summary.model = "open, poisson 10000/s".into();
        open.summary.offered_rate = Some(10_000.0);
        open.summary.capped_by = Cap::Rate;
        if subject == "plain-axum" {
            open.summary.invalid =
                vec!["the generator sent late (p99 1900 µs, at most 1000 µs); lower the rate or free the machine".into()];
            open.summary.success = 0.9987;
            open.summary.errors = [("timeout".to_owned(), 130)].into();
        }
        let of = |run: &str, name: &str, unit: &str, value: f64| {
            metric(["cached-read", run, subject, name, unit], value, 0.02)
        };
        collector.metric(of("closed-16", "rate", "req/s", rate));
        if open.summary.invalid.is_empty() {
            collector.metric(of("open-50", "response_p50", "us", p99 / 4.0));
            collector.metric(of("open-50", "response_p99", "us", p99));
        }
        collector.metric(of("open-50", "cpu_per_request", "us", 900_000.0 / rate));
        collector.metric(of("open-50", "rss_peak", "bytes", 19_500_000.0));
        collector.run(closed);
        collector.run(open);
    }
}

fn startup(collector: &mut Collector) {
    for (subject, ready) in [("reference-service", 48.0), ("naive", 161.0)] {
        let of = |name: &str, unit: &str, value| {
            metric(["startup", "start", subject, name, unit], value, 0.05)
        };
        collector.metric(of("ready", "ms", ready));
        collector.metric(of("shutdown", "ms", ready / 4.0));
        collector.metric(of("shutdown_failed", "count", 0.0));
    }
}

fn micro(collector: &mut Collector) {
    for (name, subject, value) in [
        ("memory-hit", "tiered-cache", 51.5),
        ("memory-hit", "moka", 103.0),
        ("memory-hit", "quick_cache", 52.0),
        ("memory-hit-t2", "tiered-cache", 88.0),
        ("memory-hit-t2", "<b>\"|moka'&", 71.0),
    ] {
        collector.metric(metric(
            ["tiered-cache", name, subject, "time", "ns"],
            value,
            0.03,
        ));
    }
    for (subject, count) in [("tiered-cache", 0.0), ("moka", 1.0)] {
        let words = [
            "tiered-cache",
            "memory-hit",
            subject,
            "allocations",
            "count",
        ];
        collector.metric(metric(words, count, 0.0));
    }
}

fn metric(words: [&str; 5], value: f64, spread: f64) -> Metric {
    let [suite, name, subject, metric, unit] = words.map(str::to_owned);
    Metric {
        suite,
        name,
        subject,
        metric,
        unit,
        value,
        low: value * (1.0 - spread),
        high: value * (1.0 + spread),
        samples: 40,
    }
}

fn run(name: &str, subject: &str, rate: f64, p99: f64) -> Run {
    let mut summary = Summary::default();
    summary.target = "http://127.0.0.1:40123".into();
    summary.model = "closed, 16 users".into();
    summary.seed = 1;
    summary.duration_s = 10.0;
    summary.rate = rate;
    summary.ended = (rate * 10.0) as u64;
    summary.success = 1.0;
    summary.statuses = [(200, summary.ended)].into();
    summary.response_us = latency(summary.ended, p99);
    summary.service_us = latency(summary.ended, p99 * 0.9);
    summary.first_byte_us = latency(summary.ended, p99 * 0.8);
    summary.send_lag_us = latency(summary.ended, 30.0);
    summary.generator_cpu = 0.61;
    summary.capped_by = Cap::Cpu;
    let mut server = ServerSummary::default();
    server.ready_ms = 48.0;
    server.cpu_us_per_request = 900_000.0 / rate;
    server.cpu_share = 0.97;
    server.rss_start_bytes = 12_300_000;
    server.rss_steady_bytes = 18_900_000;
    server.rss_peak_bytes = 19_500_000;
    server.threads = 5;
    server.fds = 40;
    summary.server = Some(server);
    summary.timeline = (0..10).map(|second| row(second, rate, p99)).collect();
    Run {
        suite: "cached-read".into(),
        name: name.into(),
        subject: subject.into(),
        summary,
    }
}

fn latency(samples: u64, p99: f64) -> LatencySummary {
    let mut latency = LatencySummary::default();
    latency.samples = samples;
    latency.mean = p99 / 3.0;
    latency.p50 = Some(p99 / 4.0);
    latency.p95 = Some(p99 / 2.0);
    latency.p99 = Some(p99);
    latency.p999 = (samples >= 200_000).then_some(p99 * 2.5);
    latency.max = p99 * 9.0;
    latency
}

fn row(second: u64, rate: f64, p99: f64) -> TimelineRow {
    let wave = 1.0 + 0.2 * (second as f64 * 1.7).sin();
    let mut row = TimelineRow::default();
    row.t = second;
    row.ended = (rate * wave) as u64;
    row.p50_us = (p99 / 4.0 * wave) as u64;
    row.p99_us = (p99 * wave * if second == 6 { 1.8 } else { 1.0 }) as u64;
    row.rss_bytes = Some(12_300_000 + 720_000 * second);
    // One second in which the process could not be read.
    row.cpu = (second != 4).then_some(0.9 * wave);
    row
}
