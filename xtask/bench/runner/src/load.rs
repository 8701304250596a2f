//! `bench load`: load on any running service, or on our own, which is then built, filled and watched.

use std::ffi::{OsStr, OsString};

use anyhow::Context as _;
use loadgen::Summary;
use loadgen::cli::{self, Command, Progress};

use crate::build::{Binaries, Needs};
use crate::environment::Environment;
use crate::report::{Collector, Report, Run};
use crate::seed::Seed;
use crate::session::{Exit, Session};
use crate::suites::cores::Cores;
use crate::suites::subject::Subject;

/// As it is called in messages and in the command to run next.
const PROGRAM: &str = "cargo xtask bench load";
/// Of one run alone.
pub(crate) const SUITE: &str = "load";

/// Sends the load that `args` ask for, prints what it gave and writes it as the report, or where `--output` says.
///
/// # Errors
/// If our service cannot be built or filled, or the report cannot be written.
pub(crate) fn run(session: &Session, args: &[OsString]) -> anyhow::Result<Exit> {
    if names_target(args) {
        return send(session, args, None);
    }
    // A wrong option is told before anything is built.
    let with_any = [&["--server".into(), "any".into()], args].concat();
    if !matches!(cli::parse(with_any.clone()), Ok(Command::Run(_))) {
        return Ok(exit(cli::main(PROGRAM, with_any, &session.stop)));
    }
    let needs = Needs {
        services: true,
        ..Needs::default()
    };
    let binaries = Binaries::build(session, &needs)?;
    let seed = Seed::make(session, &binaries).context("cannot make the data")?;
    let ours = Ours::new(session, &binaries, &seed, args)?;
    send(session, &[&ours.args, args].concat(), Some(&ours))
}

/// Our service, as nobody typed it.
struct Ours {
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

/// Sends the load of `args`, to `ours` if they begin with its.
fn send(session: &Session, args: &[OsString], ours: Option<&Ours>) -> anyhow::Result<Exit> {
    let Ok(Command::Run(mut run)) = cli::parse(args) else {
        return Ok(exit(cli::main(PROGRAM, args, &session.stop)));
    };
    run.call(PROGRAM);
    if let Some(ours) = ours {
        run.environment(ours.env.clone());
    }
    let mut environment = Environment::before(session);
    let progress = Progress::new(run.is_quiet());
    let done = cli::execute(&run, &session.stop, &|share| progress.show(share));
    progress.clear();
    environment.finish();
    let mut done = done?;
    if let Some(ours) = ours {
        // The data that we named is gone by then, and made anew.
        let typed = ours.args.join(OsStr::new(" "));
        done.next = done.next.replacen(&format!(" {}", typed.display()), "", 1);
    }
    let code = cli::report(PROGRAM, &run, &done);
    if !given(args, "output") {
        let subject = ours.map_or("target", |_| Subject::Service.name());
        let complete = !done.summary.interrupted;
        let collector = collected(&done.summary, done.notes, subject)?;
        Report::new(environment, collector, complete).write(&session.out)?;
    }
    Ok(exit(code))
}

impl Ours {
    /// Our service on its data, with a mix of all that it does unless `args` choose the requests.
    fn new(
        session: &Session,
        binaries: &Binaries,
        seed: &Seed,
        args: &[OsString],
    ) -> anyhow::Result<Self> {
        let config = Subject::Service.config(binaries, &seed.copy_for(Subject::Service)?);
        let mut ours: Vec<OsString> = vec![
            "--server".into(),
            config.program.into(),
            "--ready".into(),
            config.ready_path.into(),
        ];
        if !given(args, "mix") && !given(args, "path") {
            let mix = session.root.join("xtask/loadgen/mixes/service.toml");
            ours.extend(["--mix".into(), mix.into()]);
        }
        let placed = ["threads", "cpus", "server-cpus"]
            .iter()
            .any(|option| given(args, option));
        if let (false, Cores { servers, generator }) = (placed, Cores::choose(session.pin)) {
            for (option, cores) in [("--server-cpus", servers), ("--cpus", generator)] {
                let core = cores.first().map(ToString::to_string);
                ours.extend(
                    core.into_iter()
                        .flat_map(|core| [option.into(), core.into()]),
                );
            }
        }
        Ok(Self {
            args: ours,
            env: config.env,
        })
    }
}

/// The run as a report holds it.
fn collected(summary: &Summary, notes: Vec<String>, subject: &str) -> anyhow::Result<Collector> {
    let name = match summary.users {
        Some(users) => format!("closed-{users}"),
        None => "open".to_owned(),
    };
    let mut collector = Collector::default();
    for line in summary.metric_lines(SUITE, &name, subject) {
        collector.metric(line.parse()?);
    }
    notes.into_iter().for_each(|note| collector.note(note));
    collector.run(Run {
        suite: SUITE.to_owned(),
        name,
        subject: subject.to_owned(),
        summary: summary.clone(),
    });
    Ok(collector)
}

/// Whether `args` say what to measure, or ask for help.
fn names_target(args: &[OsString]) -> bool {
    let first = args.first().and_then(|word| word.to_str());
    matches!(first, Some("db" | "cache" | "http"))
        || ["url", "server", "help"]
            .iter()
            .any(|option| given(args, option))
        || args.iter().any(|word| word == "-h")
}

/// Whether `--option` is among `args`, before the arguments of a server.
fn given(args: &[OsString], option: &str) -> bool {
    args.iter().take_while(|word| *word != "--").any(|word| {
        let long = word.to_str().and_then(|word| word.strip_prefix("--"));
        long.is_some_and(|long| long.split('=').next() == Some(option))
    })
}

fn exit(code: u8) -> Exit {
    match code {
        0 => Exit::Fine,
        1 => Exit::Regressed,
        2 => Exit::Usage,
        130 => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn our_service_is_measured_unless_something_else_is_named() {
        for line in ["", "--users 4", "--mix x.toml", "--rate 5 -- --url x"] {
            assert!(!names_target(&args(line)), "{line}");
        }
        for line in [
            "--url http://x",
            "--users 4 --server=x",
            "db --pool 4",
            "--help",
            "-h",
        ] {
            assert!(names_target(&args(line)), "{line}");
        }
    }

    #[test]
    fn a_run_becomes_a_report_with_its_notes() {
        let mut summary = Summary::default();
        (summary.users, summary.ended, summary.rate) = (Some(8), 10, 5.0);
        let collector = collected(&summary, vec!["pool: 3 waits".to_owned()], "target");
        let collector = collector.expect("a report");
        assert_eq!(
            collector.metrics[0].to_string(),
            "METRIC load closed-8 target rate req/s 5 5 5 0"
        );
        assert_eq!(collector.runs[0].name, "closed-8");
        assert_eq!(collector.notes, ["pool: 3 waits"]);
    }
}
