//! Service suites on the screen: a table for each load, a row for each subject.

use loadgen::Summary;

use super::table::{Align, table};
use crate::report::{Report, Run, is_ours, percent, thousands};

const MIB: f64 = 1024.0 * 1024.0;

/// The runs of a report, those of one load together.
pub(super) fn loads(report: &Report) -> String {
    let mut loads: Vec<Vec<&Run>> = Vec::new();
    for run in &report.runs {
        let same = |load: &&mut Vec<&Run>| {
            load.iter()
                .any(|other| (&other.suite, &other.name) == (&run.suite, &run.name))
        };
        match loads.iter_mut().find(same) {
            Some(load) => load.push(run),
            None => loads.push(vec![run]),
        }
    }
    loads.iter().map(|load| one(report, load)).collect()
}

fn one(report: &Report, runs: &[&Run]) -> String {
    let Some(first) = runs.first() else {
        return String::new();
    };
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| !is_ours(&run.suite, &run.subject));
    let title = format!("{} {}", first.suite, first.name);
    let head = [
        (&*title, Align::Left),
        ("req/s", Align::Right),
        ("success", Align::Right),
        ("p50 µs", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("CPU µs", Align::Right),
        ("RSS MiB", Align::Right),
        ("capped by", Align::Left),
    ];
    let rows: Vec<_> = runs.iter().map(|run| row(report, run)).collect();
    format!("\n{}", table(&head, &rows))
}

fn row(report: &Report, run: &Run) -> Vec<String> {
    let Run {
        suite,
        name,
        subject,
        summary,
    } = run;
    // The median over all rounds where there is one; else the round that was kept whole.
    let median = |metric: &str| {
        let found = report.results.iter().find(|result| {
            (
                &result.suite,
                &result.name,
                &result.subject,
                &*result.metric,
            ) == (suite, name, subject, metric)
        });
        found.map(|result| result.value)
    };
    let latency = |metric: &str, kept: Option<f64>| {
        let kept = kept.filter(|_| !run.is_invalid());
        let micros = median(metric).or(kept);
        micros.map_or_else(|| "–".to_owned(), |micros| thousands(micros.round() as u64))
    };
    let response = &summary.response_us;
    let server = summary.server.as_ref();
    let cpu = median("cpu_per_request").or_else(|| Some(server?.cpu_us_per_request));
    let rate = thousands(median("rate").unwrap_or(summary.rate).round() as u64);
    let at_least = if run.is_at_least() { "≥" } else { "" };
    vec![
        subject.clone(),
        format!("{at_least}{rate}"),
        percent(median("success").unwrap_or(summary.success)),
        latency("response_p50", response.p50),
        latency("response_p95", response.p95),
        latency("response_p99", response.p99),
        latency("response_p999", response.p999),
        cpu.map_or_else(|| "–".to_owned(), |micros| format!("{micros:.1}")),
        rss(summary, median),
        run.verdict().to_owned(),
    ]
}

/// At start, steady and at its peak, in MiB.
fn rss(summary: &Summary, median: impl Fn(&str) -> Option<f64>) -> String {
    let Some(server) = &summary.server else {
        return "–".to_owned();
    };
    let parts = [
        ("rss_start", server.rss_start_bytes),
        ("rss_steady", server.rss_steady_bytes),
        ("rss_peak", server.rss_peak_bytes),
    ];
    let parts = parts.map(|(metric, kept)| {
        let bytes = median(metric).unwrap_or(kept as f64);
        format!("{:.0}", bytes / MIB)
    });
    parts.join("/")
}
