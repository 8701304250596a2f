//! Load runs on the page: what was asked, percentiles, what kept the rate from being higher, and how it went over time.

use loadgen::{Cap, LatencySummary, ServerSummary, Summary};

use super::super::groups::is_ours;
use super::super::{Report, Run, figure, percent, thousands};
use super::Text;
use super::lines::{Line, chart};
use crate::load::SUITE;

/// The runs of one suite, folded; ours are open.
pub(super) fn runs(report: &Report, suite: &str) -> String {
    let runs: String = report
        .runs
        .iter()
        .filter(|run| run.suite == suite)
        .map(run)
        .collect();
    if runs.is_empty() {
        return runs;
    }
    let which = if suite == SUITE {
        ""
    } else {
        "<p class=\"muted\">Of each, the round in the middle as it was measured; the figures above are over all \
         rounds.</p>\n"
    };
    format!("<h3>Load runs</h3>\n{which}{runs}")
}

/// What kept a rate from being higher, in words.
fn capped_by(cap: Cap) -> &'static str {
    match cap {
        Cap::Cpu => "the server's CPU",
        Cap::Pool => "its database pool",
        Cap::Lock => "a lock, a disk or another server",
        Cap::Generator => "the load generator",
        Cap::Rate => "the offered rate: it kept up",
        Cap::Users => "too few users",
        _ => "unknown",
    }
}

fn run(run: &Run) -> String {
    let summary = &run.summary;
    let ours = is_ours(&run.suite, &run.subject);
    let mark = if run.is_too_slow() {
        " <strong class=\"warn\">too slow</strong>"
    } else if run.is_invalid() {
        " <strong class=\"warn\">invalid</strong>"
    } else if summary.interrupted {
        " <strong class=\"warn\">ended early</strong>"
    } else {
        ""
    };
    let at_least = if run.is_at_least() { "at least " } else { "" };
    format!(
        "<details{}>\n<summary{}>{} · {}{mark} <span class=\"muted\">{}, {at_least}{}</span></summary>\n\
         {}{}{}</details>\n",
        if ours { " open" } else { "" },
        if ours { " class=\"ours\"" } else { "" },
        Text(&run.name),
        Text(&run.subject),
        Text(&summary.model),
        figure(summary.rate, "req/s"),
        facts(summary),
        percentiles(summary),
        charts(run),
    )
}

fn facts(summary: &Summary) -> String {
    let mut facts = vec![
        ("rate", figure(summary.rate, "req/s")),
        ("success", percent(summary.success)),
        ("capped by", capped_by(summary.capped_by).to_owned()),
        ("requests", thousands(summary.ended)),
        (
            "generator",
            format!("{:.0} % of its core", summary.generator_cpu * 100.0),
        ),
    ];
    facts.extend(
        summary
            .offered_rate
            .map(|rate| ("offered", figure(rate, "req/s"))),
    );
    if summary.unsent > 0 {
        facts.push(("never sent", thousands(summary.unsent)));
    }
    for (class, count) in &summary.errors {
        facts.push(("errors", format!("{} {class}", thousands(*count))));
    }
    if let Some(server) = &summary.server {
        facts.extend(server_facts(server));
    }
    let rows: String = facts
        .into_iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", Text(&value)))
        .collect();
    format!("<dl>\n{rows}</dl>\n")
}

fn server_facts(server: &ServerSummary) -> Vec<(&'static str, String)> {
    let bytes = |bytes: u64| figure(bytes as f64, "bytes");
    vec![
        ("CPU per request", figure(server.cpu_us_per_request, "us")),
        (
            "CPU used",
            format!("{:.0} % of its cores", server.cpu_share * 100.0),
        ),
        ("RSS at start", bytes(server.rss_start_bytes)),
        ("RSS steady", bytes(server.rss_steady_bytes)),
        ("RSS peak", bytes(server.rss_peak_bytes)),
        ("threads", thousands(server.threads)),
        ("ready after", figure(server.ready_ms, "ms")),
    ]
}

fn percentiles(summary: &Summary) -> String {
    let row = |name: &str, latency: &LatencySummary| {
        let cell = |value: Option<f64>| match value {
            Some(value) => format!("<td>{}</td>", figure(value, "us")),
            None => "<td><abbr title=\"too few samples\">–</abbr></td>".to_owned(),
        };
        format!(
            "<tr><th scope=\"row\">{name}</th>{}{}{}{}{}{}</tr>\n",
            cell(Some(latency.mean)),
            cell(latency.p50),
            cell(latency.p95),
            cell(latency.p99),
            cell(latency.p999),
            cell(Some(latency.max)),
        )
    };
    format!(
        "<div class=\"wide\">\n<table class=\"percentiles\">\n<tr><td></td><th scope=\"col\">mean</th><th scope=\"col\">p50</th>\
         <th scope=\"col\">p95</th><th scope=\"col\">p99</th><th scope=\"col\">p99.9</th>\
         <th scope=\"col\">max</th></tr>\n{}{}{}{}</table>\n</div>\n",
        row("response, from the intended moment", &summary.response_us),
        row("service, from sending", &summary.service_us),
        row("first byte, from sending", &summary.first_byte_us),
        row("the generator's own lag", &summary.send_lag_us),
    )
}

fn charts(run: &Run) -> String {
    // A second that was cut short looks like a drop.
    let whole = run.summary.duration_s.floor();
    let rows = run.summary.timeline.iter();
    let rows = rows.filter(|row| (row.t as f64) < whole);
    let of = |value: fn(&loadgen::TimelineRow) -> Option<f64>| {
        rows.clone()
            .map(|row| (row.t as f64, value(row)))
            .collect::<Vec<_>>()
    };
    let latency = [
        Line::new("p99", "strong", of(|row| Some(row.p99_us as f64))),
        Line::new("p50", "soft", of(|row| Some(row.p50_us as f64))),
    ];
    let rate = [Line::new(
        "requests",
        "strong",
        of(|row| Some(row.ended as f64)),
    )];
    let memory = [Line::new(
        "RSS",
        "strong",
        of(|row| row.rss_bytes.map(|bytes| bytes as f64)),
    )];
    let percent = of(|row| row.cpu.map(|share| share * 100.0));
    let cpu = [Line::new("CPU", "strong", percent)];
    let charts = [
        chart("response time", "us", &latency),
        chart("requests each second", "req/s", &rate),
        chart("resident memory", "bytes", &memory),
        chart("CPU, where 100 % is one core", "%", &cpu),
    ];
    format!("<div class=\"charts\">\n{}</div>\n", charts.concat())
}
