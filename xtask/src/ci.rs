//! `cargo xtask ci`: everything that has to pass before a change is merged, with the time that each step took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use xshell::cmd;

use crate::args::TestOptions;
use crate::workspace::{BENCH_MANIFEST, Package, Workspace, cargo};
use crate::{build, process, test, tidy};

const MANIFESTS: [&str; 2] = ["Cargo.toml", BENCH_MANIFEST];
const PROBE_LIMIT: Duration = Duration::from_secs(30);
const FETCH_LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn run(workspace: &Workspace, full: bool, skip_test: bool) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    steps.run("fmt", || format(workspace))?;
    steps.run("tidy", || tidy::run(workspace).map(|()| Outcome::Passed))?;
    steps.run("clippy", || clippy(workspace))?;
    steps.run("clippy of the benches", || clippy_bench(workspace))?;
    steps.run("docs", || docs(workspace))?;
    for package in workspace.crates() {
        steps.run(&format!("{} alone", package.name), || {
            alone(workspace, package)
        })?;
    }
    steps.run("cargo-deny", || deny(workspace))?;
    if !skip_test {
        steps.run("test", || {
            test::run(workspace, &TestOptions::default()).map(|()| Outcome::Passed)
        })?;
    }
    if full {
        steps.run("test of the benches' peers", || test_peers(workspace))?;
        steps.run("each feature alone", || each_feature(workspace))?;
        steps.run("build", || build::run(workspace).map(|()| Outcome::Passed))?;
    }
    steps.finish()
}

enum Outcome {
    Passed,
    Skipped(&'static str),
}

/// Goes on after a failure, so that one run shows every one of them.
#[derive(Default)]
struct Steps {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    took: Duration,
    result: Result<Outcome, anyhow::Error>,
}

impl Steps {
    /// # Errors
    /// Only an interrupt: a failed step is kept for the table.
    fn run(
        &mut self,
        name: &str,
        step: impl FnOnce() -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        process::check_interrupt()?;
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let result = step();
        process::check_interrupt()?;
        if let Err(error) = &result {
            eprintln!("{name}: {error:#}");
        }
        self.rows.push(Row {
            name: name.to_owned(),
            took: start.elapsed(),
            result,
        });
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<()> {
        eprintln!("\n{}", self.table());
        let failed: Vec<_> = self.failed().map(|row| row.name.as_str()).collect();
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        Ok(())
    }

    fn failed(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.result.is_err())
    }

    fn table(&self) -> String {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or_default();
        let line = |row: &Row| {
            let result = match &row.result {
                Ok(Outcome::Passed) => "ok".to_owned(),
                Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
                Err(_) => "FAILED".to_owned(),
            };
            format!(
                "{:width$}  {:>7.1} s  {result}",
                row.name,
                row.took.as_secs_f64()
            )
        };
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        let mut lines: Vec<_> = self.rows.iter().map(line).collect();
        lines.push(format!("{:width$}  {:>7.1} s", "", total.as_secs_f64()));
        lines.join("\n")
    }
}

fn format(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    for manifest in MANIFESTS {
        process::run(cmd!(
            shell,
            "{cargo} fmt --manifest-path {manifest} --all -- --check"
        ))?;
    }
    Ok(Outcome::Passed)
}

fn clippy(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    process::run(cmd!(
        shell,
        "{cargo} clippy --workspace --all-targets --all-features -- -D warnings"
    ))?;
    Ok(Outcome::Passed)
}

/// Apart from the step above, as the peers of the benches take a while to compile.
fn clippy_bench(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo, target) = (workspace.shell()?, cargo(), &workspace.target);
    process::run(cmd!(
        shell,
        "{cargo} clippy --manifest-path {BENCH_MANIFEST} --target-dir {target} --workspace --all-targets -- -D warnings"
    ))?;
    Ok(Outcome::Passed)
}

/// Runs each micro bench once, which compiles and links all peers.
fn test_peers(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo, target) = (workspace.shell()?, cargo(), &workspace.target);
    process::run(cmd!(
        shell,
        "{cargo} test --manifest-path {BENCH_MANIFEST} --target-dir {target} --package micro --package peers"
    ))?;
    Ok(Outcome::Passed)
}

fn docs(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo, target) = (workspace.shell()?, cargo(), &workspace.target);
    for command in [
        cmd!(shell, "{cargo} doc --workspace --all-features --no-deps"),
        cmd!(
            shell,
            "{cargo} doc --manifest-path {BENCH_MANIFEST} --target-dir {target} --package harness --no-deps"
        ),
    ] {
        let mut command = Command::from(command);
        command.env("RUSTDOCFLAGS", "-D warnings");
        process::run(command)?;
    }
    Ok(Outcome::Passed)
}

/// In the whole workspace features are unified: only alone does a crate show that it forgot one. Clippy instead of a
/// plain check, because it turns warnings into errors without compiling the dependencies again.
fn alone(workspace: &Workspace, package: &Package) -> anyhow::Result<Outcome> {
    let (shell, cargo, name) = (workspace.shell()?, cargo(), &package.name);
    for features in ["--no-default-features", "--all-features"] {
        process::run(cmd!(
            shell,
            "{cargo} clippy --package {name} --lib {features} -- -D warnings"
        ))?;
    }
    Ok(Outcome::Passed)
}

fn each_feature(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    for package in workspace.crates() {
        let name = &package.name;
        for feature in package
            .features
            .iter()
            .filter(|feature| *feature != "default")
        {
            process::run(cmd!(
                shell,
                "{cargo} clippy --package {name} --lib --no-default-features --features {feature}
                 -- -D warnings"
            ))?;
        }
    }
    Ok(Outcome::Passed)
}

fn deny(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let (shell, cargo) = (workspace.shell()?, cargo());
    let mut probe = Command::from(cmd!(shell, "{cargo} deny --version"));
    if process::read(&mut probe, PROBE_LIMIT).is_err() {
        process::check_interrupt()?;
        return Ok(Outcome::Skipped(
            "not installed (cargo install cargo-deny --locked)",
        ));
    }
    let explain = |error| anyhow::anyhow!("{error}; `cargo deny check` tells more");
    // Warnings of duplicates are many and for those who look for them.
    for manifest in MANIFESTS {
        let offline = cmd!(
            shell,
            "{cargo} deny --log-level error --manifest-path {manifest} check --config deny.toml bans licenses sources"
        );
        process::run(offline).map_err(explain)?;
    }
    // Advisories live in a repository elsewhere; a machine without a way there is no reason to fail.
    let mut fetch = Command::from(cmd!(shell, "{cargo} deny fetch db"));
    if process::read(&mut fetch, FETCH_LIMIT).is_err() {
        process::check_interrupt()?;
        return Ok(Outcome::Skipped(
            "advisories only: their database cannot be reached; the rest passed",
        ));
    }
    // Of what is shipped: an advisory on a peer concerns nobody who uses this.
    let advisories = cmd!(
        shell,
        "{cargo} deny --log-level error check --disable-fetch advisories"
    );
    process::run(advisories).map_err(explain)?;
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn one_failure_does_not_hide_the_next() {
        let mut steps = Steps::default();
        steps
            .run("first", || bail!("broken"))
            .expect("not interrupted");
        steps
            .run("second step", || Ok(Outcome::Skipped("no tool")))
            .expect("not interrupted");
        steps
            .run("third", || Ok(Outcome::Passed))
            .expect("not interrupted");
        let table = steps.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(
            lines[0].starts_with("first      ") && lines[0].ends_with("FAILED"),
            "{table}"
        );
        assert!(
            lines[1].ends_with("skipped: no tool") && lines[2].ends_with("ok"),
            "{table}"
        );
        assert_eq!(lines.len(), 4);
        let error = steps.finish().expect_err("a step failed").to_string();
        assert_eq!(error, "failed: first");
    }
}
