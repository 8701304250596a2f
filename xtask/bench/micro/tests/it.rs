//! Each bench program as its callers run it: what it lists, and that every subject does its job once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of `src/bin`, so that a new bench needs no mention here.
fn suites() -> Vec<String> {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin"));
    let suite = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    files
        .expect("the folder of the benches")
        .filter_map(|file| suite(file.expect("a file").path()))
        .collect()
}

/// Runs the program of `suite`, which must succeed, and returns its standard output.
fn run(suite: &str, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_init-graph")).with_file_name(suite);
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{suite} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// The benches of `suite` and the subjects of each.
fn benches(suite: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut benches: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in run(suite, &["--list"]).lines() {
        let words: Vec<_> = line.splitn(5, ' ').collect();
        let ["BENCH", named, bench, subject, about] = words[..] else {
            panic!("{line}")
        };
        assert_eq!(named, suite, "a suite is named like its file");
        assert!(!about.is_empty(), "{line}");
        let subjects = benches.entry(bench.to_owned()).or_default();
        assert!(subjects.insert(subject.to_owned()), "twice: {line}");
    }
    benches
}

#[test]
fn every_bench_has_our_subject_and_a_peer() {
    for suite in suites() {
        let benches = benches(&suite);
        assert!(!benches.is_empty(), "{suite}");
        for (bench, subjects) in benches {
            assert!(
                subjects.contains(&suite),
                "{suite} {bench} without ours: {subjects:?}"
            );
            assert!(subjects.len() > 1, "{suite} {bench} without a peer");
        }
    }
}

/// A goal that is missed is no failure, figures that cannot be taken are one.
#[test]
fn figures_can_be_taken() {
    for suite in suites() {
        let listed = run(&suite, &["--list"]);
        let figures = listed.lines().filter(|line| line.starts_with("FIGURES "));
        let names: Vec<_> = figures.filter_map(|line| line.split(' ').nth(2)).collect();
        if names.is_empty() {
            continue;
        }
        let taken = run(&suite, &["--smoke"]);
        let ours = |name: &&&str| taken.contains(&format!("METRIC {suite} {name} {suite} "));
        assert!(names.iter().any(|name| ours(&name)), "{suite}: {taken}");
    }
}

#[test]
fn every_subject_can_be_set_up_and_does_its_job() {
    for suite in suites() {
        for (bench, subjects) in benches(&suite) {
            for subject in subjects {
                let only = ["--only", &bench, &subject, "--iterations", "2"];
                assert_eq!(run(&suite, &only), "", "{suite} {bench} {subject}");
            }
        }
    }
}
