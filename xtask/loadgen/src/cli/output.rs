//! What a run leaves behind: the screen, `METRIC` lines, a file.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Done, Run, USAGE};
use crate::{Checked, Summary, screen};

/// Prints the screen or the `METRIC` lines, then writes the file, and returns the exit code. What cannot be written is
/// told on standard error and does not change the code: what was measured is measured.
pub fn report(program: &str, run: &Run, done: &Done) -> u8 {
    let mut text = String::new();
    if run.metrics {
        for line in done
            .summary
            .metric_lines("loadgen", &word(&done.summary.model), "target")
        {
            text.push_str(&line);
            text.push('\n');
        }
    } else if !run.quiet {
        text = screen::render(&done.summary, &done.checks, &done.notes, &done.next);
    }
    print(&text);
    if let Some(path) = &run.output {
        let file = Output {
            schema_version: 1,
            summary: &done.summary,
            thresholds: &done.checks,
            passed: done.passed(),
            notes: &done.notes,
        };
        if let Err(error) = file.write(path) {
            // Nobody is left to tell if standard error is gone too.
            let _ = writeln!(
                io::stderr(),
                "{program}: {}: cannot be written: {error}",
                path.display()
            );
        }
    }
    done.exit_code()
}

pub(super) fn help(program: &str) -> u8 {
    print(&USAGE.replace("loadgen ", &format!("{program} ")));
    0
}

/// Tells an error with its causes.
pub(super) fn complain(program: &str, error: &dyn Error, code: u8) -> u8 {
    let _ = writeln!(io::stderr(), "{program}: {}", with_causes(error));
    code
}

pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn print(text: &str) {
    // A reader that has seen enough, `head` say, is no failure.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The model as one word of a `METRIC` line.
fn word(model: &str) -> String {
    let words: Vec<&str> = model
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

/// The file.
#[derive(Serialize)]
struct Output<'a> {
    schema_version: u32,
    summary: &'a Summary,
    thresholds: &'a [Checked],
    passed: bool,
    notes: &'a [String],
}

impl Output<'_> {
    /// All of it or nothing: a reader never sees half a file, and a full disk leaves an older one as it was.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let written = self
            .write_to(&temporary)
            .and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    fn write_to(&self, path: &PathBuf) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = File::create(path)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}
