//! What a session measured, on one screen: pure, without colour, at most a hundred columns wide.

mod benches;
mod loads;
mod table;

use std::path::Path;

use crate::report::{Report, Run, benches, is_ours, tally};

/// Longest line.
const WIDTH: usize = 100;

/// The screen; `page` is where the report lies, if it could be written.
pub(crate) fn screen(report: &Report, page: Option<&Path>) -> String {
    let benches = benches(report);
    let mut text = format!("{}\n", head(report));
    text.push_str(&loads::loads(report));
    text.push_str(&benches::services(report, &benches));
    text.push_str(&benches::micro(&benches));
    text.push_str(&problems(report));
    text.push_str(&format!("\nours {}\n", tally(&benches)));
    if let Some(page) = page {
        text.push_str(&format!("report: {}   with intervals\n", page.display()));
    }
    let (command, why) = next(report);
    text.push_str(&format!("next:   {command}   {why}\n"));
    // A report may come from elsewhere: its words are no commands to a terminal.
    text.retain(|letter| letter == '\n' || !letter.is_control());
    text
}

fn head(report: &Report) -> String {
    let environment = &report.environment;
    let floor = match environment.noise_floor {
        Some(share) => format!("noise floor {:.1} %", share * 100.0),
        None => "noise floor unknown".to_owned(),
    };
    let parts = [environment.machine(), environment.revision(), floor];
    let known: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    known.join(" · ")
}

/// Why runs say nothing, then what else has to be known.
fn problems(report: &Report) -> String {
    let sentences = report.doubts();
    let sentences: Vec<_> = sentences.iter().chain(&report.notes).collect();
    if sentences.is_empty() {
        return String::new();
    }
    let lines = sentences
        .into_iter()
        .map(|sentence| wrapped(&format!("- {sentence}")));
    format!("\n{}", lines.collect::<String>())
}

/// In lines that fit, those after the first indented.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if width > 0 && width + 1 + letters > WIDTH {
            lines.push_str("\n  ");
            width = 2;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += letters;
    }
    lines.push('\n');
    lines
}

/// The command that is worth running now, and why.
fn next(report: &Report) -> (&'static str, &'static str) {
    let disturbed =
        |run: &Run| run.is_invalid() && (is_ours(&run.suite, &run.subject) || !run.is_too_slow());
    if report.runs.iter().any(disturbed) {
        (
            "cargo xtask bench doctor",
            "what on this machine disturbs figures",
        )
    } else if !report.complete {
        (
            "cargo xtask bench list",
            "every suite can be run alone by its name",
        )
    } else if report.environment.noise_floor.is_none() {
        (
            "cargo xtask bench calibrate",
            "the smallest change that this machine can tell",
        )
    } else if report.environment.git_dirty == Some(true) {
        (
            "cargo xtask bench compare HEAD",
            "what your changes cost or gain",
        )
    } else {
        (
            "cargo xtask bench compare HEAD~1",
            "what the last commit cost or gained",
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::*;
    use crate::report::sample;

    #[test]
    fn the_sample_on_a_screen() {
        let text = screen(&sample(), Some(Path::new("target/bench/report.html")));
        expect_file![concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/screen/snapshots/screen.txt"
        )]
        .assert_eq(&text);
        for line in text.lines() {
            assert!(
                line.starts_with("INVALID") || line.chars().count() <= 100,
                "{line}"
            );
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn the_next_command_follows_from_what_was_seen() {
        let mut report = sample();
        assert!(next(&report).0.ends_with("doctor"));
        for run in &mut report.runs {
            run.summary.unsent = 1_000_000;
        }
        assert!(
            next(&report).0.ends_with("list"),
            "a slow peer is no illness"
        );
        for run in &mut report.runs {
            run.summary.invalid.clear();
        }
        assert!(next(&report).0.ends_with("list"));
        report.complete = true;
        assert!(next(&report).0.ends_with("compare HEAD"));
        report.environment.git_dirty = Some(false);
        assert!(next(&report).0.ends_with("compare HEAD~1"));
        report.environment.noise_floor = None;
        assert!(next(&report).0.ends_with("calibrate"));
    }

    #[test]
    fn words_of_a_report_are_no_commands_to_a_terminal() {
        let mut report = sample();
        report.notes.push("\u{1b}[2J\u{7}gone".into());
        report.results[0].subject = "a\u{1b}[31mb".into();
        let text = screen(&report, None);
        assert!(!text.contains(['\u{1b}', '\u{7}']));
        assert!(text.contains("[2Jgone"), "{text}");
    }

    #[test]
    fn nothing_measured_is_said_without_tables() {
        let mut report = sample();
        report.results.clear();
        report.runs.clear();
        report.notes.clear();
        assert_eq!(screen(&report, None).lines().count(), 4);
    }
}
