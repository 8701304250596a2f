//! `cargo xtask test`: the suites of the whole workspace with real servers beside them.

use std::ffi::OsString;
use std::process::Command;

use anyhow::bail;
use xshell::cmd;

use crate::args::{Backend, TestOptions};
use crate::services::{Kind, Missing, Services};
use crate::workspace::{Workspace, cargo};
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

/// Without a choice of targets this includes the doc tests.
fn cargo_test(workspace: &Workspace, services: &Services, args: &[OsString]) -> anyhow::Result<()> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    let scope = default_scope(args, process::in_ci());
    let mut command = Command::from(cmd!(shell, "{cargo} test {scope...} {args...}"));
    for kind in Kind::ALL {
        // What is not there must not be taken from the environment either.
        command.env_remove(kind.variable());
    }
    for service in &services.running {
        command.env(service.kind.variable(), &service.url);
    }
    process::run(command)
}

/// What `cargo test` is told unless the arguments say something else about it.
fn default_scope(args: &[OsString], in_ci: bool) -> Vec<&'static str> {
    let args: Vec<_> = args.iter().take_while(|arg| *arg != "--").collect();
    let given = |names: &[&str]| {
        args.iter().filter_map(|arg| arg.to_str()).any(|arg| {
            names.iter().any(|name| {
                // --package x, --package=x, -p x, -px
                arg == *name
                    || arg
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with('='))
                    || (name.len() == 2 && arg.starts_with(name))
            })
        })
    };
    let mut scope = Vec::new();
    if !given(&["-p", "--package", "--manifest-path", "--workspace", "--all"]) {
        scope.push("--workspace");
    }
    if !given(&[
        "-F",
        "--features",
        "--all-features",
        "--no-default-features",
    ]) {
        // Most suites sit behind a feature of their crate.
        scope.push("--all-features");
    }
    if in_ci && !given(&["--no-fail-fast"]) {
        scope.push("--no-fail-fast");
    }
    scope
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

    fn scope(args: &str) -> Vec<&'static str> {
        let args: Vec<_> = args.split_whitespace().map(OsString::from).collect();
        default_scope(&args, false)
    }

    #[test]
    fn everything_is_tested_unless_told_otherwise() {
        assert_eq!(scope(""), ["--workspace", "--all-features"]);
        assert_eq!(scope("a_name -- -p"), ["--workspace", "--all-features"]);
        assert_eq!(scope("-p db-pool"), ["--all-features"]);
        assert_eq!(scope("-pdb-pool --features=sqlite"), Vec::<&str>::new());
        assert_eq!(scope("--package=db-pool"), ["--all-features"]);
        assert_eq!(scope("--no-default-features"), ["--workspace"]);
        assert_eq!(default_scope(&[], true).last(), Some(&"--no-fail-fast"));
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
