//! The Prometheus text format: a writer for the monitor's own families, and the merge with those
//! of the `metrics` facade into one sorted document.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// The content type of [`Monitor::prometheus`](crate::Monitor::prometheus).
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families that only the monitor writes; a second one of the same name would spoil the document.
const RESERVED: [&str; 3] = [
    "build_info",
    "http_server_active_requests",
    "http_server_request_duration_seconds",
];

/// Whether a name of the `metrics` facade belongs to the monitor itself.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with("perf_monitor_") || name.starts_with("process_") || RESERVED.contains(&name)
}

/// A document under construction: families by name, each with its lines.
#[derive(Debug, Default)]
pub(crate) struct Document {
    families: BTreeMap<String, String>,
}

impl Document {
    /// Opens a family of the monitor itself.
    pub(crate) fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        let text_slot = self.families.entry(name.to_owned()).or_default();
        *text_slot = text;
        Family {
            name,
            text: text_slot,
        }
    }

    /// Adds the families of the exporter's text, each sorted; one whose name is taken is left out.
    pub(crate) fn merge(&mut self, exported: &str) {
        for block in exported
            .split("\n\n")
            .filter(|block| !block.trim().is_empty())
        {
            if let Some((name, text)) = sorted_family(block) {
                self.families.entry(name).or_insert(text);
            }
        }
    }

    pub(crate) fn finish(self) -> String {
        let mut out = String::with_capacity(self.families.values().map(String::len).sum());
        self.families.values().for_each(|text| out.push_str(text));
        out
    }
}

/// A family that is being written.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    /// Writes one sample; `suffix` is `_bucket`, `_sum`, `_count` or nothing.
    pub(crate) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("writing to a string cannot fail");
    }
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// The family's name and its text with the series in order; the buckets of one series stay together.
fn sorted_family(block: &str) -> Option<(String, String)> {
    let (head, samples): (Vec<_>, Vec<_>) = block
        .lines()
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with('#'));
    let type_line = head.iter().find_map(|line| line.strip_prefix("# TYPE "))?;
    let (name, kind) = type_line.split_once(' ')?;
    let mut groups: Vec<Vec<&str>> = Vec::new();
    if kind == "histogram" || kind == "summary" {
        // The exporter ends each series with its `_count`.
        let count = format!("{name}_count");
        for group in samples.split_inclusive(|line| line.starts_with(&count)) {
            groups.push(group.to_vec());
        }
    } else {
        groups.extend(samples.into_iter().map(|line| vec![line]));
    }
    groups.sort_by(|a, b| a.last().cmp(&b.last()));
    let mut text = String::with_capacity(block.len() + 1);
    for line in head.into_iter().chain(groups.into_iter().flatten()) {
        text.push_str(line);
        text.push('\n');
    }
    Some((name.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_series_come_out_sorted_whatever_their_order_was() {
        let mut document = Document::default();
        document.merge(
            "# TYPE z counter\nz{a=\"2\"} 1\nz{a=\"1\"} 5\n\n\
             # HELP b text\n# TYPE b histogram\nb_bucket{a=\"2\",le=\"+Inf\"} 1\nb_sum{a=\"2\"} 1\n\
             b_count{a=\"2\"} 1\nb_bucket{a=\"1\",le=\"+Inf\"} 0\nb_sum{a=\"1\"} 0\nb_count{a=\"1\"} 0\n\n",
        );
        document
            .family("m", "gauge", "A gauge")
            .sample("", &[("l", "a\"\\\nb")], 2);
        let text = document.finish();
        let order: Vec<_> = text
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(
            order,
            [
                "#",
                "#",
                "b_bucket{a=\"1\",le=\"+Inf\"}",
                "b_sum{a=\"1\"}",
                "b_count{a=\"1\"}",
                "b_bucket{a=\"2\",le=\"+Inf\"}",
                "b_sum{a=\"2\"}",
                "b_count{a=\"2\"}",
                "#",
                "#",
                "m{l=\"a\\\"\\\\\\nb\"}",
                "#",
                "z{a=\"1\"}",
                "z{a=\"2\"}",
            ]
        );
    }
}
