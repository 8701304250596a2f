//! `bench compare`: this tree beside a commit or a saved baseline, in turns, and a verdict on each metric.

mod blocks;
mod measure;
mod table;
mod verdict;

use std::time::Instant;

use anyhow::Context as _;

use self::table::Heading;
use crate::baseline::Baseline;
use crate::build::{Binaries, Needs};
use crate::calibrate::Calibration;
use crate::cli::Compare;
use crate::environment::Environment;
use crate::instructions::{Counter, MISSING, Subjects};
use crate::session::{Exit, Session};
use crate::suites;

pub(crate) use blocks::{Collected, Ended, Pair, Plan, collect};
pub(crate) use measure::Blocks;
pub(crate) use verdict::{Key, pair_values};

/// The relative change that does not matter, where nobody said otherwise and the machine can tell it.
const USUAL_TOLERANCE: f64 = 0.02;

/// Compares and prints the verdicts.
///
/// # Errors
/// If either side cannot be built or run.
pub(crate) fn run(session: &Session, asked: &Compare) -> anyhow::Result<Exit> {
    let environment = Environment::before(session);
    let (services, micro) = chosen(&asked.suites);
    let calibration = Calibration::read(&session.out, &environment.machine_class)?;
    let tolerances = Tolerances {
        asked: asked.tolerance,
        calibration: calibration.as_ref(),
    };
    if let Some(refusal) = tolerances.refuse(services.iter().chain(&micro)) {
        eprintln!("error: {refusal}");
        return Ok(Exit::Usage);
    }
    let needs = needs(&services, &micro);
    let (a, a_words) = match other(session, &asked.against, &environment)? {
        Some(Other::Baseline(baseline)) => (
            baseline.binaries(),
            format!("baseline {} ({})", baseline.name, baseline.about),
        ),
        Some(Other::Commit(commit)) => (
            Binaries::of_worktree(session, &asked.against, &needs)?,
            format!("{} ({commit})", asked.against),
        ),
        None => {
            eprintln!(
                "error: no baseline and no commit is called {}; `cargo xtask bench baseline list` and `git log \
                 --oneline` name some",
                asked.against
            );
            return Ok(Exit::Usage);
        }
    };
    let b = Binaries::build(session, &needs)?;
    let mut blocks = Blocks::new(session, [&a, &b], &services, &micro)?;

    let plan = Plan {
        max_time: asked.max_time,
        seed: session.seed,
    };
    let phase = session.progress.phase("comparing", asked.max_time);
    let began = Instant::now();
    let collected = collect(
        plan,
        &session.stop,
        || began.elapsed(),
        |side| blocks.measure(side),
        |so_far| phase.say(so_far.to_string()),
    );
    drop(phase);
    let mut notes = blocks.notes().to_vec();
    notes.extend(tolerances.note());
    let counted = match collected.ended {
        None => instructions(session, &blocks, &mut notes)?,
        Some(_) => Pair::default(),
    };
    let heading = Heading {
        a: &a_words,
        b: &this_tree(&environment),
        seed: session.seed,
        again: &again(asked),
        notes: &notes,
    };
    let (text, exit) = conclude(&heading, collected, &counted, &tolerances)?;
    print!("{text}");
    Ok(exit)
}

/// Scenarios and crates among `suites`; all scenarios if nothing was named, as micro benches are many.
pub(crate) fn chosen(suites: &[String]) -> (Vec<String>, Vec<String>) {
    let scenarios = || suites::all().iter().map(|suite| suite.name.to_owned());
    if suites.is_empty() {
        return (scenarios().collect(), Vec::new());
    }
    let is_scenario = |name: &String| scenarios().any(|other| other == *name);
    suites.iter().cloned().partition(is_scenario)
}

pub(crate) fn needs(services: &[String], micro: &[String]) -> Needs {
    Needs {
        services: !services.is_empty(),
        micro: micro.to_vec(),
    }
}

/// From what was measured to what is printed and how the command ends.
fn conclude(
    heading: &Heading<'_>,
    collected: Collected,
    instructions: &Pair,
    tolerances: &Tolerances<'_>,
) -> anyhow::Result<(String, Exit)> {
    let rows = verdict::rows(&collected, instructions, |key| tolerances.of(key), heading.seed);
    let text = if rows.is_empty() {
        String::new()
    } else {
        table::render(heading, &collected, &rows)
    };
    match collected.ended {
        Some(Ended::Interrupted) => Ok((text, Exit::Interrupted)),
        Some(Ended::Failed(error)) if rows.is_empty() => Err(error),
        Some(Ended::Failed(_)) => Ok((text, Exit::Failed)),
        _ if rows.is_empty() => anyhow::bail!("the two sides have no metric in common"),
        _ => Ok((text, verdict::exit(&rows))),
    }
}

/// What change of each metric does not matter.
#[derive(Clone, Copy, Debug)]
struct Tolerances<'a> {
    asked: Option<f64>,
    calibration: Option<&'a Calibration>,
}

impl Tolerances<'_> {
    fn of(&self, key: &Key) -> f64 {
        let floor = self.calibration.and_then(|one| one.floor(key));
        let usual = floor.unwrap_or_default().max(USUAL_TOLERANCE);
        self.asked.unwrap_or(usual)
    }

    fn refuse<'s>(&self, suites: impl Iterator<Item = &'s String>) -> Option<String> {
        let suites: Vec<_> = suites.cloned().collect();
        self.calibration?.refuse(self.asked?, &suites)
    }

    fn note(&self) -> Option<String> {
        self.calibration.is_none().then(|| {
            "the noise of this machine was not measured, so that a change of the machine may be taken for one of \
             the program; cargo xtask bench calibrate measures it"
                .to_owned()
        })
    }
}

/// What this tree is compared with.
enum Other {
    Baseline(Baseline),
    /// Its short name.
    Commit(String),
}

/// A baseline of that name comes before a commit.
fn other(
    session: &Session,
    name: &str,
    environment: &Environment,
) -> anyhow::Result<Option<Other>> {
    if let Some(baseline) = Baseline::find(&session.out, name, &environment.machine_class)? {
        return Ok(Some(Other::Baseline(baseline)));
    }
    let found = std::process::Command::new("git")
        .arg("-C")
        .arg(&session.root)
        .args(["rev-parse", "--verify", "--quiet", "--short=12", "--end-of-options"])
        .arg(format!("{name}^{{commit}}"))
        .output()
        .context("cannot start git")?;
    let commit = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    Ok(found.status.success().then_some(Other::Commit(commit)))
}

fn this_tree(environment: &Environment) -> String {
    let commit = environment.git_revision.as_deref().unwrap_or("unknown");
    let changes = match environment.git_dirty {
        Some(true) => " and changes",
        _ => "",
    };
    format!("this tree ({}{changes})", commit.get(..12).unwrap_or(commit))
}

fn again(asked: &Compare) -> String {
    let mut words = vec!["cargo xtask bench compare".to_owned(), asked.against.clone()];
    words.extend(asked.suites.iter().cloned());
    words.extend(asked.tolerance.map(|share| format!("--tolerance {}%", share * 100.0)));
    words.join(" ")
}

/// Of the micro benches of both sides, where valgrind is there.
fn instructions(
    session: &Session,
    blocks: &Blocks<'_>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Pair> {
    let mut counted = Pair::default();
    let mut programs = blocks.micro().peekable();
    if programs.peek().is_none() {
        return Ok(counted);
    }
    let Some(counter) = Counter::find() else {
        notes.push(MISSING.to_owned());
        return Ok(counted);
    };
    for [a, b] in programs {
        for (program, metrics) in [(a, &mut counted.a), (b, &mut counted.b)] {
            counter.count(
                session,
                &program,
                Subjects::Ours,
                |metric| metrics.push(metric),
                |note| notes.push(note),
            )?;
        }
    }
    Ok(counted)
}
