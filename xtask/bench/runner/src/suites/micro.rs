//! The micro benches: programs of their own, whose `METRIC` lines are read.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use harness::Metric;

use crate::build::Binaries;
use crate::child;
use crate::instructions::{Counter, MISSING, Subjects};
use crate::report::Collector;
use crate::session::{Budget, Session};

/// The exit code of a bench program of which a subject panicked: the figures of the others count.
const INCOMPLETE: i32 = 3;

/// Runs the micro benches of one crate.
///
/// # Errors
/// If the program fails; the figures that came before are kept.
pub(crate) fn micro(
    name: &str,
    session: &Session,
    binaries: &Binaries,
    collector: &mut Collector,
) -> anyhow::Result<()> {
    let seed = session.seed.to_string();
    let mut args = vec!["--seed", &seed];
    match session.budget {
        Budget::Quick => args.push("--quick"),
        Budget::Normal => {}
        Budget::Full => args.push("--full"),
    }
    session.progress.line(format_args!("{name}: micro benches"));
    let program = binaries.micro.join(name);
    let (metrics, ended) = metrics(session, &program, args);
    metrics
        .into_iter()
        .for_each(|metric| collector.metric(metric));
    ended?;
    if session.budget == Budget::Full {
        instructions(session, &program, collector)?;
    }
    Ok(())
}

/// Counts them for ours and the peers, where valgrind is there.
fn instructions(
    session: &Session,
    program: &Path,
    collector: &mut Collector,
) -> anyhow::Result<()> {
    let Some(counter) = Counter::find() else {
        collector.note(MISSING);
        return Ok(());
    };
    let mut notes = Vec::new();
    let counted = counter.count(
        session,
        program,
        Subjects::All,
        |metric| collector.metric(metric),
        |note| notes.push(note),
    );
    notes.into_iter().for_each(|note| collector.note(note));
    counted
}

/// Runs a bench program and returns what it measured, whether or not it ended well.
pub(crate) fn metrics(
    session: &Session,
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> (Vec<Metric>, anyhow::Result<()>) {
    let (mut metrics, mut bad) = (Vec::new(), None);
    let status = child::run(
        Command::new(program)
            .args(args)
            .env_clear()
            .envs(child::environment()),
        &session.stop,
        |line| match read(line) {
            Ok(Some(metric)) => metrics.push(metric),
            Ok(None) => session.progress.line(line),
            Err(error) => bad = bad.take().or(Some(error)),
        },
    );
    let ended = || {
        let (status, shown) = (status?, program.display());
        if let Some(error) = bad {
            return Err(error.context(format!("{shown} printed a line that cannot be read")));
        }
        if session.stop.is_stopped() {
            return Ok(());
        }
        if status.code() == Some(INCOMPLETE) {
            bail!("{shown}: a subject failed; the others were measured");
        }
        ensure!(status.success(), "{shown} failed: {status}");
        Ok(())
    };
    let ended = ended();
    (metrics, ended)
}

/// The metric of a line, if it is one.
fn read(line: &str) -> anyhow::Result<Option<Metric>> {
    if !Metric::is_one(line) {
        return Ok(None);
    }
    line.parse().map(Some).context("not a METRIC line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metric_lines_are_figures_and_bad_ones_are_told() {
        let line = "METRIC init-graph start init-graph time ns 51.5 50 53.25 40";
        let metric = read(line).expect("a line").expect("a metric");
        assert_eq!(metric.to_string(), line);
        assert_eq!(read("warming up").expect("a line"), None);
        let error = read("METRIC init-graph start").expect_err("half a line");
        assert!(
            format!("{error:#}").contains("METRIC init-graph start"),
            "{error:#}"
        );
    }
}
