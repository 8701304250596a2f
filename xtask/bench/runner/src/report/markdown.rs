//! The report as Markdown, for a comment at a pull request: a table for each bench with its peers, the rest folded.

use super::groups::{Bench, benches, is_ours, label, tally};
use super::{Report, figure, spread};

/// The whole report.
pub(super) fn markdown(report: &Report) -> String {
    let benches = benches(report);
    let mut text = format!("## Benchmarks\n\n{}\n", head(report, &benches));
    let mut suite = "";
    for bench in &benches {
        if bench.suite != suite {
            suite = bench.suite;
            text.push_str(&format!("\n### {}\n", escape(suite)));
        }
        text.push_str(&format!("\n**{}**\n\n{}", escape(bench.name), table(bench)));
    }
    for note in report.invalid().iter().chain(&report.notes) {
        text.push_str(&format!("\n> {}\n", escape(note)));
    }
    text.push_str(&environment(report));
    text
}

fn head(report: &Report, benches: &[Bench<'_>]) -> String {
    let environment = &report.environment;
    let revision = match (&environment.git_revision, environment.git_dirty) {
        (Some(revision), Some(true)) => format!("`{}` with changes", escape(revision)),
        (Some(revision), _) => format!("`{}`", escape(revision)),
        (None, _) => "unknown revision".to_owned(),
    };
    let incomplete = if report.complete {
        ""
    } else {
        " **Incomplete: see the notes.**"
    };
    format!("{revision} · {}.{incomplete}", tally(benches))
}

/// Subjects by metrics, with the verdict as the last row.
fn table(bench: &Bench<'_>) -> String {
    let mut text = "| |".to_owned();
    for group in &bench.groups {
        text.push_str(&format!(" {} |", escape(&label(group.metric))));
    }
    text.push_str(&format!("\n|:--|{}\n", "--:|".repeat(bench.groups.len())));
    for subject in &bench.subjects {
        let name = escape(subject);
        if is_ours(bench.suite, subject) {
            text.push_str(&format!("| **{name}** |"));
        } else {
            text.push_str(&format!("| {name} |"));
        }
        for group in &bench.groups {
            let cell = group.rows.iter().find(|metric| metric.subject == *subject);
            let cell = cell.map_or_else(String::new, |metric| {
                format!("{} {}", figure(metric.value, &metric.unit), spread(metric))
            });
            text.push_str(&format!(" {} |", cell.trim()));
        }
        text.push('\n');
    }
    let verdicts: Vec<_> = bench.groups.iter().map(|group| group.verdict()).collect();
    if verdicts.iter().any(|verdict| !verdict.is_empty()) {
        text.push_str("| *ours is* |");
        for verdict in verdicts {
            text.push_str(&format!(" {} |", escape(&verdict)));
        }
        text.push('\n');
    }
    text
}

fn environment(report: &Report) -> String {
    let mut text =
        "\n<details><summary>Where this was measured</summary>\n\n| | |\n|:--|:--|\n".to_owned();
    for (name, value) in report.environment.rows() {
        text.push_str(&format!("| {name} | {} |\n", escape(&value)));
    }
    text.push_str("\n</details>\n");
    text
}

/// What Markdown or HTML would take for its own becomes text.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '*' | '`' | '[' | ']' | '\\' | '_' | '~' | '#' | '@' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\r' | '\n' => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::super::sample;
    use super::*;

    #[test]
    fn the_sample_as_markdown() {
        expect_file![concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/report/snapshots/report.md"
        )]
        .assert_eq(&markdown(&sample()));
    }

    #[test]
    fn what_would_be_markup_is_text() {
        assert_eq!(escape("a|b\n<c> *d*"), "a\\|b &lt;c&gt; \\*d\\*");
    }
}
