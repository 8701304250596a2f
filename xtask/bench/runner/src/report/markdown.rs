//! The report as Markdown, for a comment at a pull request: a table for each bench with its peers, the rest folded.

use super::groups::{Bench, Group, benches, is_ours, label, tally};
use super::{Report, Run, spread};

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
        text.push_str(&format!(
            "\n**{}**\n\n{}",
            escape(bench.name),
            table(report, bench)
        ));
    }
    for note in report.doubts().iter().chain(&report.notes) {
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

/// Subjects by metrics, with what capped each load, and how ours stands as the last row.
fn table(report: &Report, bench: &Bench<'_>) -> String {
    let run = |run: &&Run| (&*run.suite, &*run.name) == (bench.suite, bench.name);
    let runs: Vec<_> = report.runs.iter().filter(run).collect();
    let row = |first: &str, cells: Vec<String>| {
        let cells = cells.iter().map(|cell| format!(" {} |", cell.trim()));
        format!("| {first} |{}\n", cells.collect::<String>())
    };
    let mut head: Vec<_> = bench
        .groups
        .iter()
        .map(|group| escape(&label(group.metric)))
        .collect();
    head.extend((!runs.is_empty()).then(|| "capped by".to_owned()));
    let line = format!("|:--|{}\n", "--:|".repeat(head.len()));
    let mut text = row("", head) + &line;
    for subject in &bench.subjects {
        let of_groups = bench.groups.iter().map(|group| {
            let cell = group.rows.iter().find(|metric| metric.subject == *subject);
            cell.map_or_else(String::new, |metric| {
                format!("{} {}", report.value(metric), spread(metric))
            })
        });
        let run = runs.iter().find(|run| run.subject == *subject);
        let cells = of_groups.chain(run.map(|run| run.verdict().to_owned()));
        let name = escape(subject);
        let mark = if is_ours(bench.suite, subject) {
            "**"
        } else {
            ""
        };
        text.push_str(&row(&format!("{mark}{name}{mark}"), cells.collect()));
    }
    let verdicts: Vec<_> = bench.groups.iter().map(Group::verdict).collect();
    if verdicts.iter().any(|verdict| !verdict.is_empty()) {
        let verdicts = verdicts.iter().map(|verdict| escape(verdict));
        text.push_str(&row("*ours is*", verdicts.collect()));
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
