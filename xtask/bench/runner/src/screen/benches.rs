//! What is no load, on the screen: start-up and the like by subject, micro benches beside the best peer.

use super::table::{Align, table};
use crate::report::{Bench, Report, Run, figure, label, spread};

/// Benches of services that no load run stands behind: subjects by metrics.
pub(super) fn services(report: &Report, benches: &[Bench<'_>]) -> String {
    let loaded = |bench: &&Bench<'_>| {
        let same = |run: &Run| (&*run.suite, &*run.name) == (bench.suite, bench.name);
        !is_micro(bench) && !report.runs.iter().any(same)
    };
    benches.iter().filter(loaded).map(by_subject).collect()
}

/// Micro benches of each crate: ours, the best peer, how ours stands.
pub(super) fn micro(benches: &[Bench<'_>]) -> String {
    let mut text = String::new();
    let mut rest: Vec<_> = benches.iter().filter(|bench| is_micro(bench)).collect();
    while let Some(suite) = rest.first().map(|bench| bench.suite) {
        let (this, others) = rest.into_iter().partition(|bench| bench.suite == suite);
        rest = others;
        text.push_str(&beside_best(suite, &this));
    }
    text
}

fn is_micro(bench: &Bench<'_>) -> bool {
    bench.groups.iter().any(|group| group.metric == "time")
}

fn by_subject(bench: &Bench<'_>) -> String {
    let title = format!("{} {}", bench.suite, bench.name);
    let labels: Vec<_> = bench
        .groups
        .iter()
        .map(|group| label(group.metric))
        .collect();
    let mut head = vec![(&*title, Align::Left)];
    head.extend(labels.iter().map(|label| (&**label, Align::Right)));
    let mut rows = Vec::new();
    for subject in &bench.subjects {
        let mut row = vec![(*subject).to_owned()];
        for group in &bench.groups {
            let found = group.rows.iter().find(|metric| metric.subject == *subject);
            row.push(found.map_or_else(
                || "–".to_owned(),
                |metric| figure(metric.value, &metric.unit),
            ));
        }
        rows.push(row);
    }
    format!("\n{}", table(&head, &rows))
}

fn beside_best(suite: &str, benches: &[&Bench<'_>]) -> String {
    let head = [
        (suite, Align::Left),
        ("ours", Align::Right),
        ("", Align::Left),
        ("allocations", Align::Right),
        ("best peer", Align::Right),
        ("", Align::Left),
        ("ours is", Align::Left),
        ("place", Align::Left),
    ];
    let rows: Vec<_> = benches
        .iter()
        .filter_map(|bench| micro_row(bench))
        .collect();
    format!("\n{}", table(&head, &rows))
}

fn micro_row(bench: &Bench<'_>) -> Option<Vec<String>> {
    let of = |metric: &str| bench.groups.iter().find(|group| group.metric == metric);
    let time = of("time")?;
    let ours = time.ours();
    let allocations = of("allocations").and_then(|group| group.ours());
    let peer = time.best_peer();
    let standing = time.against_best();
    let value = |metric: Option<&harness::Metric>| {
        metric.map_or_else(
            || "–".to_owned(),
            |metric| figure(metric.value, &metric.unit),
        )
    };
    Some(vec![
        bench.name.to_owned(),
        value(ours),
        ours.map(spread).unwrap_or_default(),
        value(allocations),
        value(peer),
        peer.map_or_else(String::new, |peer| peer.subject.clone()),
        standing.map_or_else(String::new, |(standing, _)| standing.to_string()),
        time.place(),
    ])
}
