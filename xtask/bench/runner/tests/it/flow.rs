//! `bench` from its start to its report, with shell scripts in the place of cargo and of the bench programs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use crate::text;

const FIRST: &str = "METRIC init-graph start init-graph time ns 51.5 50 53.25 40";
const SECOND: &str = "METRIC init-graph start peer time ns 103 100 106 40";

/// Puts `script` in the place of the built benches of init-graph.
fn bench_is(target: &Path, script: &str) {
    let program = target.join("release/init-graph");
    fs::create_dir_all(target.join("release")).expect("a folder");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
}

fn bench(target: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(args)
        .arg("init-graph")
        .env("CARGO_TARGET_DIR", target)
        // Builds nothing and is content.
        .env("CARGO", "true")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("the program")
}

fn ended(child: Child) -> Output {
    child.wait_with_output().expect("an end")
}

fn report(target: &Path) -> Value {
    let json = fs::read_to_string(target.join("bench/report.json")).expect("a report");
    serde_json::from_str(&json).expect("JSON")
}

#[test]
fn a_bench_is_measured_shown_and_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    bench_is(folder.path(), &format!("echo '{FIRST}'; echo '{SECOND}'"));
    let output = ended(bench(folder.path(), &["--quick"]));
    let (screen, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(screen.contains("2.0× better"), "{screen}");
    assert!(!screen.contains("METRIC"), "{screen}");
    let report = report(folder.path());
    assert_eq!(report["complete"], true);
    assert_eq!(report["results"][1]["value"], 103.0);
    assert!(folder.path().join("bench/report.html").exists());
}

#[test]
fn metric_lines_are_printed_as_they_were_read() {
    let folder = tempfile::tempdir().expect("a folder");
    bench_is(folder.path(), &format!("echo '{FIRST}'; echo '{SECOND}'"));
    let output = ended(bench(folder.path(), &["--metrics"]));
    assert_eq!(text(&output.stdout), format!("{FIRST}\n{SECOND}\n"));
}

#[test]
fn variables_of_the_shell_do_not_reach_what_is_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    // As any variable of a user would.
    let script = "echo METRIC init-graph start init-graph time ns ${CARGO_TARGET_DIR:-5} 4 6 40";
    bench_is(folder.path(), script);
    let output = ended(bench(folder.path(), &["--metrics"]));
    let expected = "METRIC init-graph start init-graph time ns 5 4 6 40\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}

#[test]
fn a_bench_that_fails_keeps_its_figures_and_exits_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    bench_is(folder.path(), &format!("echo '{FIRST}'; exit 1"));
    let output = ended(bench(folder.path(), &[]));
    assert_eq!(output.status.code(), Some(3));
    let report = report(folder.path());
    assert_eq!(report["complete"], false);
    assert_eq!(report["results"].as_array().map(Vec::len), Some(1));
    let note = report["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("init-graph failed: "), "{note}");
}

#[test]
fn ctrl_c_reports_what_is_there_and_exits_with_130() {
    let folder = tempfile::tempdir().expect("a folder");
    // As the real ones: the first signal asks for what there is, a second one ends it at once.
    let script = format!(
        "trap 'asked=$((asked + 1)); [ $asked -lt 2 ] || exit 130' INT\n\
         echo '{FIRST}'\necho measuring >&2\n\
         while [ -z \"$asked\" ]; do sleep 0.01; done\n\
         sleep 0.2; echo '{SECOND}'; exit 130"
    );
    bench_is(folder.path(), &script);
    let mut child = bench(folder.path(), &[]);
    let mut errors = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while line != "measuring\n" {
        line.clear();
        let read = errors.read_line(&mut line).expect("a line");
        assert!(read > 0, "it ended before it measured");
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // To the whole group, as a terminal does.
    kill_process_group(pid.expect("a process"), Signal::INT).expect("a signal");
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    let output = ended(child);
    assert_eq!(output.status.code(), Some(130), "{rest}");
    let screen = text(&output.stdout);
    assert!(screen.contains("- interrupted in init-graph"), "{screen}");
    let report = report(folder.path());
    assert_eq!(report["complete"], false);
    assert_eq!(
        report["results"].as_array().map(Vec::len),
        Some(2),
        "{report}"
    );
}

#[test]
fn a_build_that_fails_is_one_message_and_exits_with_3() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("init-graph")
        .env("CARGO_TARGET_DIR", folder.path())
        .env("CARGO", "false")
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
    assert!(told.contains("cargo build --release -p micro"), "{told}");
}
