//! `cargo xtask test`: the suites of the whole workspace with real servers beside them.

use std::ffi::OsString;
use std::process::Command;

use anyhow::bail;
use xshell::cmd;

use crate::args::{Backend, TestOptions};
use crate::services::{Kind, Missing, Services};
use crate::workspace::{BENCH_MANIFEST, Workspace, cargo};
use crate::{install, process};

pub(crate) fn run(workspace: &Workspace, options: &TestOptions) -> anyhow::Result<()> {
    let services = acquire(workspace, options)?;
    let may_skip = options.backend == Backend::Auto && !process::in_ci();
    if !may_skip && !services.missing.is_empty() {
        // Before an hour of compiling rather than after.
        bail!(
            "nothing may be skipped here\n{}",
            skipped(&services.missing)
        );
    }
    for service in &services.running {
        eprintln!(
            "{}: {}",
            service.kind.title(),
            without_password(&service.url)
        );
    }
    let outcome = cargo_test(workspace, &services, &options.args);
    let missing = services.missing.clone();
    drop(services);
    // Last, where it is seen.
    if !missing.is_empty() && !process::interrupted() {
        eprintln!("{}", skipped(&missing));
    }
    outcome
}

/// Installs only what neither the environment nor containers give.
fn acquire(workspace: &Workspace, options: &TestOptions) -> anyhow::Result<Services> {
    let services = Services::acquire(workspace, options.backend)?;
    if !options.install {
        return Ok(services);
    }
    install::compiler()?;
    if services.missing.is_empty() {
        eprintln!("install: nothing to do");
        return Ok(services);
    }
    install::servers(&services.missing)?;
    drop(services);
    Services::acquire(workspace, options.backend)
}

/// The suites of the workspace, then those of the benches' workspace, which needs no servers.
fn cargo_test(workspace: &Workspace, services: &Services, args: &[OsString]) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for suite in suites(args, process::in_ci()) {
        if outcome.is_err() && !suite.after_a_failure {
            break;
        }
        let result = run_suite(workspace, services, &suite.args, args);
        outcome = outcome.and(result);
        process::check_interrupt()?;
    }
    outcome
}

/// Without a choice of targets this includes the doc tests.
fn run_suite(
    workspace: &Workspace,
    services: &Services,
    suite: &[&str],
    args: &[OsString],
) -> anyhow::Result<()> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    let mut command = Command::from(cmd!(shell, "{cargo} test {suite...} {args...}"));
    if suite.contains(&BENCH_MANIFEST) {
        // Its own configuration, which shares the target folder, is not read from the root.
        command.env("CARGO_TARGET_DIR", &workspace.target);
    }
    for kind in Kind::ALL {
        // What is not there must not be taken from the environment either.
        command.env_remove(kind.variable());
    }
    for service in &services.running {
        command.env(service.kind.variable(), &service.url);
    }
    process::run(command)
}

/// One call of `cargo test`.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    /// What `cargo test` is told besides the arguments given.
    args: Vec<&'static str>,
    /// Whether it runs although one before it failed.
    after_a_failure: bool,
}

/// Packages of the benches' workspace that are tested unless others are named. The other two would have all peers
/// compiled; `cargo xtask ci --full` tests them.
const BENCH_PACKAGES: [&str; 2] = ["harness", "runner"];
const WITH_PEERS: [&str; 2] = ["micro", "peers"];

/// What is tested unless the arguments say something else about it.
fn suites(args: &[OsString], in_ci: bool) -> Vec<Suite> {
    let args: Vec<_> = args
        .iter()
        .map_while(|arg| arg.to_str().filter(|arg| *arg != "--"))
        .collect();
    let given = |names: &[&str]| {
        args.iter()
            .any(|arg| names.iter().any(|name| is_option(arg, name)))
    };
    let no_fail_fast = given(&["--no-fail-fast"]);
    let ending = (in_ci && !no_fail_fast).then_some("--no-fail-fast");
    let suite = |args: Vec<&'static str>| Suite {
        args: args.into_iter().chain(ending).collect(),
        after_a_failure: in_ci || no_fail_fast,
    };
    let bench = vec!["--manifest-path", BENCH_MANIFEST];
    if chosen_packages(&args)
        .any(|name| BENCH_PACKAGES.contains(&name) || WITH_PEERS.contains(&name))
    {
        return vec![suite(bench)];
    }
    let chooses_packages = given(&["-p", "--package", "--manifest-path", "--workspace", "--all"]);
    let chooses_features = given(&[
        "-F",
        "--features",
        "--all-features",
        "--no-default-features",
    ]);
    let chooses_targets = given(&[
        "--lib",
        "--bin",
        "--bins",
        "--test",
        "--tests",
        "--example",
        "--examples",
        "--bench",
        "--benches",
        "--doc",
        "--all-targets",
    ]);
    let mut main = Vec::new();
    if !chooses_packages {
        main.push("--workspace");
    }
    if !chooses_features {
        // Most suites sit behind a feature of their crate.
        main.push("--all-features");
    }
    let mut suites = vec![suite(main)];
    // A choice among what the main workspace has would be an error there.
    if !(chooses_packages || chooses_features || chooses_targets || given(&["--exclude"])) {
        let packages = BENCH_PACKAGES.into_iter().flat_map(|name| ["-p", name]);
        suites.push(suite(bench.into_iter().chain(packages).collect()));
    }
    suites
}

/// Whether `arg` is the option `name`: `--package`, `--package=x`, `-p`, `-px`.
fn is_option(arg: &str, name: &str) -> bool {
    let Some(rest) = arg.strip_prefix(name) else {
        return false;
    };
    rest.is_empty() || rest.starts_with('=') || name.len() == 2
}

fn chosen_packages<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    args.iter().enumerate().filter_map(|(index, arg)| {
        let option = ["-p", "--package"]
            .into_iter()
            .find(|name| is_option(arg, name))?;
        match arg[option.len()..].trim_start_matches('=') {
            "" => args.get(index + 1).copied(),
            value => Some(value),
        }
    })
}

fn skipped(missing: &[Missing]) -> String {
    let mut lines: Vec<_> = missing
        .iter()
        .map(|one| format!("skipped: the {} suites ({})", one.kind.title(), one.reason))
        .collect();
    lines.push("to run them: cargo xtask test --install".to_owned());
    if let Some(command) = install::advice(missing) {
        lines.push(format!("         or: {command}"));
    }
    lines.push("         or: set TEST_DATABASE_URL and TEST_REDIS_URL".to_owned());
    lines.join("\n")
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return String::new();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://...@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: &str = "--manifest-path xtask/bench/Cargo.toml";

    fn told(args: &str) -> Vec<String> {
        let args: Vec<_> = args.split_whitespace().map(OsString::from).collect();
        let suites = suites(&args, false);
        suites.iter().map(|suite| suite.args.join(" ")).collect()
    }

    #[test]
    fn everything_is_tested_unless_told_otherwise() {
        let bench = format!("{BENCH} -p harness -p runner");
        for args in ["", "a_name -- -p", "--release"] {
            assert_eq!(told(args), ["--workspace --all-features", &bench], "{args}");
        }
    }

    #[test]
    fn a_choice_among_the_main_workspace_leaves_the_benches_out() {
        assert_eq!(told("-p db-pool"), ["--all-features"]);
        assert_eq!(told("-pdb-pool --features=sqlite"), [""]);
        assert_eq!(told("--package=db-pool"), ["--all-features"]);
        assert_eq!(told("--no-default-features"), ["--workspace"]);
        assert_eq!(told("--test it"), ["--workspace --all-features"]);
    }

    #[test]
    fn a_package_of_the_benches_is_tested_in_its_own_workspace() {
        for args in ["-p harness stats", "-prunner", "--package=micro"] {
            assert_eq!(told(args), [BENCH], "{args}");
        }
        assert_eq!(told("-- -p harness").len(), 2);
    }

    #[test]
    fn in_ci_one_failure_hides_no_other() {
        for suite in suites(&[], true) {
            assert!(suite.after_a_failure);
            assert_eq!(suite.args.last(), Some(&"--no-fail-fast"));
        }
        let given = suites(&["--no-fail-fast".into()], true);
        assert_eq!(given[0].args, ["--workspace", "--all-features"]);
        assert!(given[1].after_a_failure);
        assert!(!suites(&[], false)[1].after_a_failure);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("postgres://u:p@h:1/d"),
            "postgres://...@h:1/d"
        );
        assert_eq!(without_password("redis://h:1"), "redis://h:1");
    }

    #[test]
    fn what_was_skipped_is_named_with_a_way_out() {
        let missing = [Missing {
            kind: Kind::Redis,
            reason: "no redis-server".to_owned(),
        }];
        let text = skipped(&missing);
        assert!(text.contains("Redis suites (no redis-server)") && text.contains("--install"));
    }
}
