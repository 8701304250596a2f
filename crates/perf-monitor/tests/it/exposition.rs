//! A small, strict reader of the Prometheus text format that the other modules check with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

pub(crate) type Labels = BTreeMap<String, String>;

/// The samples of a document, by name and labels; panics on whatever Prometheus would refuse.
pub(crate) struct Exposition {
    pub(crate) samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut samples = BTreeMap::new();
        let (mut closed, mut current, mut kind) = (BTreeSet::new(), String::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (keyword, name) = (words.next().unwrap(), words.next().unwrap());
                if name != current {
                    assert!(
                        closed.insert(name.to_owned()),
                        "family {name} appears twice"
                    );
                    (current, kind) = (name.to_owned(), String::new());
                }
                if keyword == "TYPE" {
                    assert!(kind.is_empty(), "two types for {name}");
                    kind = words.next().unwrap().to_owned();
                    assert!(
                        ["counter", "gauge", "histogram"].contains(&kind.as_str()),
                        "{line}"
                    );
                }
            } else {
                let (name, labels, value) = parse_sample(line);
                let suffix = name
                    .strip_prefix(&current)
                    .expect("a sample belongs to its family");
                let allowed: &[_] = if kind == "histogram" {
                    &["_bucket", "_sum", "_count"]
                } else {
                    &[""]
                };
                assert!(allowed.contains(&suffix), "{line} in a {kind}");
                let previous = samples.insert((name, labels), value);
                assert!(previous.is_none(), "series appears twice: {line}");
            }
        }
        let parsed = Self { samples };
        parsed.check_histograms();
        parsed
    }

    /// The sum over all series of a name that carry these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matches = |have: &Labels| {
            labels
                .iter()
                .all(|(label, value)| have.get(*label).is_some_and(|have| have == value))
        };
        let found = self
            .samples
            .iter()
            .filter(|((n, have), _)| n == name && matches(have));
        found.map(|(_, value)| value).sum()
    }

    /// The one series of a name without labels.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.samples.get(&(name.to_owned(), Labels::new())).copied()
    }

    fn check_histograms(&self) {
        for ((name, labels), count) in &self.samples {
            let Some(family) = name.strip_suffix("_count") else {
                continue;
            };
            let bucket = format!("{family}_bucket");
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for ((name, have), value) in &self.samples {
                let mut rest = have.clone();
                if let (true, Some(bound)) = (*name == bucket, rest.remove("le"))
                    && rest == *labels
                {
                    buckets.push((bound.parse().expect("a bound is a number"), *value));
                }
            }
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(
                buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1),
                "{name}: {buckets:?}"
            );
            let (last_bound, last) = buckets.last().expect("a histogram has buckets");
            assert!(
                last_bound.is_infinite() && last == count,
                "{name}: {buckets:?}"
            );
        }
    }
}

fn parse_sample(line: &str) -> (String, Labels, f64) {
    let name_end = line.find(['{', ' ']).expect("a name ends");
    let (name, mut rest) = line.split_at(name_end);
    assert!(
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'),
        "{line}"
    );
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        let mut inside = inside;
        while !inside.starts_with('}') {
            let (label, after) = inside.split_once("=\"").expect("a label has a value");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().expect("a value ends") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next().expect("an escape ends").1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, other) => value.push(other),
                }
            };
            let label = label.trim_start_matches(',').to_owned();
            assert!(
                labels.insert(label, value).is_none(),
                "label appears twice: {line}"
            );
            inside = &after[end + 1..];
        }
        rest = &inside[1..];
    }
    (
        name.to_owned(),
        labels,
        rest.trim().parse().expect("a value is a number"),
    )
}

/// Asks Prometheus' own checker where there is one.
pub(crate) fn check_with_promtool(text: &str) {
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
        return;
    };
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    // 3 means advice about names only.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
}
