//! The program from outside: what it prints where, and its exit codes.

mod flow;

use std::process::{Command, Output};

fn runner(out: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(args)
        // What a test writes stays out of the repository.
        .env("CARGO_TARGET_DIR", out)
        .output()
        .expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_mistyped_suite_is_usage_and_the_right_word_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = runner(folder.path(), &["--quick", "helo"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    assert!(
        told.starts_with("error: no suite is called helo; did you mean hello?\n"),
        "{told}"
    );
}

#[test]
fn help_is_no_error_and_needs_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = runner(&folder.path().join("none"), &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("cargo xtask bench"));
    assert!(!folder.path().join("none").exists());
}

#[test]
fn list_names_what_can_be_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = runner(folder.path(), &["list"]);
    assert_eq!(output.status.code(), Some(0));
    let listed = text(&output.stdout);
    for name in [
        "hello",
        "cached-read",
        "database-read",
        "startup",
        "init-graph",
    ] {
        assert!(listed.contains(&format!("\n  {name} ")), "{name}: {listed}");
    }
}

#[test]
fn doctor_looks_at_any_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = runner(folder.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stdout);
    for what in ["cores", "load", "disk space", "git", "machine class"] {
        assert!(told.contains(what), "{what}: {told}");
    }
}

#[test]
fn a_report_that_is_not_there_or_of_another_version_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = runner(folder.path(), &["report"]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(told.contains("no report yet"), "{told}");
    let newer = folder.path().join("newer.json");
    std::fs::write(&newer, r#"{"schema_version": 2}"#).expect("a file");
    let output = runner(folder.path(), &["report", &newer.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(told.contains("version 2"), "{told}");
}

#[test]
fn a_folder_that_cannot_be_made_is_one_message_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let out = file.join("reports");
    let out = out.to_string_lossy();
    let output = runner(folder.path(), &["doctor", "--out", &out]);
    assert_eq!(output.status.code(), Some(3));
    let told = text(&output.stderr);
    assert!(told.contains(&*out), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}
