//! Runs the chosen suites in order and reports: one that fails is noted and the rest runs; Ctrl-C ends all with what is
//! there.

use crate::build::{Binaries, Needs};
use crate::environment::Environment;
use crate::report::{Collector, Report, Run, is_ours};
use crate::screen;
use crate::session::{Exit, Session};
use crate::stdout;
use crate::suites;

/// Measures `names` and reports: the screen on standard output, or `METRIC` lines with `metrics` and the screen on
/// standard error.
///
/// # Errors
/// If what the suites need cannot be built, or standard output is closed.
pub(crate) fn run(session: &Session, names: &[String], metrics: bool) -> anyhow::Result<Exit> {
    let service = |name: &str| suites::all().iter().find(|suite| suite.name == name);
    let services = names.iter().any(|name| service(name).is_some());
    let needs = Needs {
        services,
        peers: services,
        micro: names
            .iter()
            .filter(|name| service(name).is_none())
            .cloned()
            .collect(),
    };
    // Before the build, whose own load would seem to be others'.
    let mut environment = Environment::before(session);
    let binaries = Binaries::build(session, &needs)?;
    let measure = |name: &str, collector: &mut Collector| match service(name) {
        Some(suite) => (suite.run)(session, &binaries, collector),
        None => suites::micro(name, session, &binaries, collector),
    };
    let (collector, ending) = each(session, names, measure);
    environment.finish();
    let report = Report::new(environment, collector, ending == Exit::Fine);
    let told = tell(session, &report, ending, metrics);
    eprint!("{}", told.err);
    stdout::print(&told.out)?;
    Ok(told.exit)
}

/// Hands `names` to `measure` one after the other. What arrives in the collector stays, however a suite ends.
fn each(
    session: &Session,
    names: &[String],
    measure: impl Fn(&str, &mut Collector) -> anyhow::Result<()>,
) -> (Collector, Exit) {
    let mut collector = Collector::default();
    let mut ending = Exit::Fine;
    for (place, name) in names.iter().enumerate() {
        let result = measure(name, &mut collector);
        // A suite that is interrupted may say so by an error: that is no failure of its own.
        if session.stop.is_stopped() {
            let left = match &names[place + 1..] {
                [] => String::new(),
                left => format!("; not measured: {}", left.join(", ")),
            };
            collector.note(format!("interrupted in {name}{left}"));
            return (collector, Exit::Interrupted);
        }
        if let Err(error) = result {
            let note = format!("{name} failed: {error:#}");
            session.progress.line(&note);
            collector.note(note);
            ending = Exit::Failed;
        }
    }
    (collector, ending)
}

/// What a person and a script are told in the end.
#[derive(Debug)]
struct Told {
    exit: Exit,
    out: String,
    err: String,
}

/// Writes `report`. If that cannot be done, the `METRIC` lines are told so that nothing is lost.
fn tell(session: &Session, report: &Report, ending: Exit, metrics: bool) -> Told {
    let written = report.write(&session.out);
    let page = session.out.join("report.html");
    let page = page.strip_prefix(&session.root).unwrap_or(&page);
    let screen = screen::screen(report, written.is_ok().then_some(page));
    let (out, mut err) = if metrics || written.is_err() {
        let lines = report.results.iter().map(|metric| format!("{metric}\n"));
        (lines.collect(), screen)
    } else {
        (screen, String::new())
    };
    if let Err(error) = &written {
        err.push_str(&format!(
            "error: {error:#}; the figures are on standard output as METRIC lines\n"
        ));
    }
    let exit = match ending {
        Exit::Fine if written.is_err() || report.runs.iter().any(not_sustained) => Exit::Failed,
        ending => ending,
    };
    Told { exit, out, err }
}

/// Whether ours could not keep up with a rate. A peer that cannot is a result, and a machine that was too busy to tell
/// is no failure of ours: the figures that it spoilt are left out, with the reason in their place.
fn not_sustained(run: &Run) -> bool {
    is_ours(&run.suite, &run.subject) && run.is_too_slow()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::progress::Progress;
    use crate::report::sample;
    use crate::session::Budget;

    fn session(out: &std::path::Path) -> Session {
        Session {
            root: out.to_owned(),
            target: out.to_owned(),
            out: out.to_owned(),
            budget: Budget::Quick,
            stop: loadgen::Stop::new(),
            progress: Progress::hidden(),
            seed: 1,
            pin: false,
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    /// Gives one number; `broken` fails after its own, `slow` is interrupted after its own.
    fn fake(session: &Session, name: &str, collector: &mut Collector) -> anyhow::Result<()> {
        let line = format!("METRIC {name} read {name} time ns 5 4 6 10");
        collector.metric(line.parse()?);
        match name {
            "broken" => bail!("the service ended: exit status 1"),
            "slow" => {
                session.stop.stop();
                bail!("stopped")
            }
            _ => Ok(()),
        }
    }

    fn bench(session: &Session, chosen: &[&str], metrics: bool) -> (Report, Told) {
        let (collector, ending) = each(session, &names(chosen), |name, collector| {
            fake(session, name, collector)
        });
        let report = Report::new(Environment::default(), collector, ending == Exit::Fine);
        let told = tell(session, &report, ending, metrics);
        (report, told)
    }

    #[test]
    fn a_suite_that_fails_is_noted_and_the_rest_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let session = session(folder.path());
        let (report, told) = bench(&session, &["one", "broken", "two"], false);
        assert_eq!(told.exit, Exit::Failed);
        assert!(!report.complete);
        assert_eq!(report.results.len(), 3);
        assert_eq!(
            report.notes,
            ["broken failed: the service ended: exit status 1"]
        );
        assert!(told.out.contains("- broken failed"), "{}", told.out);
        let kept = Report::read(&folder.path().join("report.json")).expect("a report");
        assert!(kept == report);
    }

    #[test]
    fn an_interrupt_reports_what_is_there_and_what_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let session = session(folder.path());
        let (report, told) = bench(&session, &["one", "slow", "two"], false);
        assert_eq!(told.exit, Exit::Interrupted);
        assert_eq!(report.results.len(), 2);
        assert_eq!(report.notes, ["interrupted in slow; not measured: two"]);
        assert!(told.out.contains("report: report.html"), "{}", told.out);
    }

    #[test]
    fn everything_well_is_complete_and_fine() {
        let folder = tempfile::tempdir().expect("a folder");
        let (report, told) = bench(&session(folder.path()), &["one", "two"], false);
        assert_eq!(told.exit, Exit::Fine);
        assert!(report.complete);
        assert_eq!(told.err, "");
        assert!(!told.out.contains("METRIC"), "{}", told.out);
    }

    #[test]
    fn metric_lines_have_standard_output_for_themselves() {
        let folder = tempfile::tempdir().expect("a folder");
        let (report, told) = bench(&session(folder.path()), &["one", "two"], true);
        let lines: Vec<harness::Metric> = told
            .out
            .lines()
            .map(|line| line.parse().expect("a METRIC line"))
            .collect();
        assert_eq!(lines, report.results);
        assert!(told.err.contains("report:"), "{}", told.err);
    }

    #[test]
    fn a_report_that_cannot_be_written_leaves_metric_lines_and_one_message() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut session = session(folder.path());
        session.out = folder.path().join("gone");
        let (_, told) = bench(&session, &["one"], false);
        assert_eq!(told.exit, Exit::Failed);
        assert_eq!(told.out, "METRIC one read one time ns 5 4 6 10\n");
        assert!(!told.err.contains("report: "), "{}", told.err);
        assert_eq!(told.err.matches("error: cannot write").count(), 1);
    }

    #[test]
    fn ours_that_is_too_slow_is_a_failure_but_neither_a_peer_nor_a_busy_machine_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let session = session(folder.path());
        let exit = |subject: &str, unsent: u64| {
            let mut report = sample();
            report.runs.retain(Run::is_invalid);
            assert_eq!(report.runs.len(), 1);
            let run = &mut report.runs[0];
            (run.subject, run.summary.unsent) = (subject.into(), unsent);
            tell(&session, &report, Exit::Fine, false).exit
        };
        let many = 1_000_000;
        assert_eq!(exit("plain-axum", many), Exit::Fine);
        assert_eq!(exit("reference-service", 0), Exit::Fine);
        assert_eq!(exit("reference-service", many), Exit::Failed);
    }
}
