//! A bench on the page: one small table for each metric, in which bars with whiskers stand beside the figures.

use super::super::groups::{Bench, Group, is_ours, label};
use super::super::{Report, spread};
use super::Text;

/// A bench with all its metrics.
pub(super) fn bench(report: &Report, bench: &Bench<'_>) -> String {
    let cards: String = bench
        .groups
        .iter()
        .map(|group| card(report, group))
        .collect();
    format!(
        "<h3>{}</h3>\n<div class=\"cards\">\n{cards}</div>\n",
        Text(bench.name)
    )
}

/// One metric: who, a bar, the figure.
fn card(report: &Report, group: &Group<'_>) -> String {
    // Whiskers have to fit too.
    let longest = group
        .rows
        .iter()
        .map(|metric| metric.value.max(metric.high))
        .fold(0.0, f64::max);
    let percent = |value: f64| {
        if longest > 0.0 {
            (value / longest * 100.0).clamp(0.0, 100.0)
        } else {
            0.0
        }
    };
    let mut rows = String::new();
    for metric in &group.rows {
        let class = if is_ours(group.suite, &metric.subject) {
            " class=\"ours\""
        } else {
            ""
        };
        let whisker = if metric.high > metric.low {
            let low = percent(metric.low);
            format!(
                "<span class=\"whisker\" style=\"left:{low:.1}%;width:{:.1}%\"></span>",
                percent(metric.high) - low
            )
        } else {
            String::new()
        };
        rows.push_str(&format!(
            "<tr{class}><th scope=\"row\">{}</th><td class=\"track\" aria-hidden=\"true\"><div>\
             <span class=\"bar\" style=\"width:{:.1}%\"></span>{whisker}</div></td>\
             <td class=\"figure\">{} <small>{}</small></td></tr>\n",
            Text(&metric.subject),
            percent(metric.value),
            Text(&report.value(metric)),
            spread(metric),
        ));
    }
    let verdict = match group.verdict() {
        verdict if verdict.is_empty() => verdict,
        verdict => format!("<p class=\"muted\">Ours: {}</p>\n", Text(&verdict)),
    };
    format!(
        "<div class=\"card\">\n<table>\n<caption>{}</caption>\n{rows}</table>\n{verdict}</div>\n",
        Text(&label(group.metric))
    )
}
