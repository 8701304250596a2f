//! What stands in the rows: texts of the lengths that notes and tasks have, the same in every run.

use std::fmt::Write as _;

use fastrand::Rng;
use serde_json::json;

/// Where chance begins. Fixed: figures of two runs are to differ by what is measured, not by the data.
pub(super) const SEED: u64 = 1;
/// How many tasks there are.
pub(super) const TASKS: u64 = 1_000;
/// No listing of ours is longer.
pub(super) const MOST: usize = 100_000;
/// How many records there are: a scan of them takes milliseconds, importing them less than a second.
const RECORDS: usize = 10_000;

/// Requests that create tasks.
pub(super) const TASKS_MIX: &str = r#"
[[route]]
name = "create"
method = "POST"
path = "/api/v1/tasks"
headers = { content-type = "application/json" }
body = '{"title":"{verb} the {noun} of {noun}","description":"{note}","assigned_agent_id":"{agent}","priority":{priority}}'
expect = { status = 201 }

[values.verb]
list = ["Summarise", "Classify", "Compare", "Translate", "Review", "Archive", "Measure", "Explain"]
[values.noun]
list = ["incident", "support mails", "vector indexes", "release notes", "contracts", "meter readings", "survey"]
[values.note]
list = [
    "Two paragraphs for the status page.",
    "Labels: billing, bug, question, praise. Ask when in doubt; at most one question for each ten mails.",
    "Recall at 10 against memory, on our own data. Keep the raw figures, they will be asked for: a table with the version, the machine and the time of each run, and a sentence on what was left out and why.",
]
[values.agent]
list = ["writer", "triage", "research", "legal", "ops"]
[values.priority]
range = [0, 9]
"#;

/// The records as the service imports them, one JSON object a line.
pub(super) fn records() -> String {
    let mut rng = Rng::with_seed(SEED);
    let mut lines = String::new();
    for number in 0..RECORDS {
        // Most notes are a few sentences, some a page, a few a document.
        let length = match rng.u8(..100) {
            0..80 => rng.usize(80..600),
            80..97 => rng.usize(600..2_500),
            _ => rng.usize(2_500..8_000),
        };
        let record = json!({
            "title": format!("{} {number}", words(&mut rng, 30)),
            "text": words(&mut rng, length),
            "tags": rng.choose_multiple(TAGS, 1 + number % 4),
            "importance": rng.u8(1..=5),
        });
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{record}");
    }
    lines
}

/// Words of about `length` bytes together.
fn words(rng: &mut Rng, length: usize) -> String {
    let mut text = String::with_capacity(length + 12);
    while text.len() < length {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(rng.choice(WORDS).unwrap_or(&""));
    }
    text
}

const TAGS: &[&str] = &[
    "api", "cache", "database", "deploy", "finance", "health", "incident", "legal", "network",
    "people", "research", "retries", "security", "shutdown", "startup", "testing",
];

const WORDS: &[&str] = &[
    "a",
    "after",
    "agent",
    "answer",
    "before",
    "cache",
    "client",
    "connection",
    "database",
    "each",
    "every",
    "fails",
    "first",
    "from",
    "graph",
    "has",
    "in",
    "is",
    "keeps",
    "lane",
    "limit",
    "memory",
    "naïve",
    "needs",
    "not",
    "of",
    "on",
    "one",
    "only",
    "pool",
    "queue",
    "reads",
    "ready",
    "record",
    "request",
    "\"retries\"",
    "server",
    "slow",
    "start",
    "stops",
    "task",
    "that",
    "the",
    "then",
    "tier",
    "time",
    "to",
    "until",
    "waits",
    "when",
    "which",
    "with",
    "writes",
    "–",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_are_the_same_in_every_run_and_of_lengths_as_in_life() {
        let lines = records();
        assert_eq!(lines, records());
        let mut lengths: Vec<_> = lines.lines().map(str::len).collect();
        assert_eq!(lengths.len(), RECORDS);
        lengths.sort_unstable();
        let (median, longest) = (lengths[RECORDS / 2], lengths[RECORDS - 1]);
        assert!((300..700).contains(&median), "median {median}");
        assert!((5_000..20_000).contains(&longest), "longest {longest}");
    }

    #[test]
    fn each_line_is_one_record() {
        for line in records().lines().take(100) {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let tags = record["tags"].as_array().expect("tags");
            assert!((1..=4).contains(&tags.len()), "{line}");
            assert!(
                record["title"].as_str().expect("a title").len() <= 100,
                "{line}"
            );
        }
    }
}
