//! `bench compare`: this tree, a commit or a saved baseline beside another one, in turns, and a verdict on each metric.

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
use crate::stdout;
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
    let a = Version::find(session, &asked.against, &environment)?;
    let b = match &asked.with {
        Some(name) => Version::find(session, name, &environment)?,
        None => Some(Version::ThisTree),
    };
    let (Some(a), Some(b)) = (a, b) else {
        return Ok(Exit::Usage);
    };
    let needs = needs(&services, &micro);
    let binaries = [a.binaries(session, &needs)?, b.binaries(session, &needs)?];
    let mut blocks = Blocks::new(session, binaries.each_ref(), &services, &micro)?;

    let plan = Plan {
        max_time: asked.max_time,
        ..Plan::usual(session.seed)
    };
    let phase = session.progress.phase("comparing", asked.max_time);
    let began = Instant::now();
    let mut collected = collect(
        plan,
        &session.stop,
        || began.elapsed(),
        |side| blocks.measure(side),
        |so_far| phase.say(so_far.to_string()),
    );
    drop(phase);
    let mut notes = blocks.notes().to_vec();
    notes.extend(tolerances.note());
    let mut counted = Pair::default();
    // Also if pairs took too long: counting does not mind a slow machine.
    if matches!(collected.ended, None | Some(Ended::TimeUp)) {
        let told = instructions(session, &blocks, &mut counted, &mut notes);
        collected.ended = match told {
            Ok(()) => collected.ended,
            Err(_) if session.stop.is_stopped() => Some(Ended::Interrupted),
            Err(error) => Some(Ended::Failed(error)),
        };
    }
    let heading = Heading {
        a: &a.words(&environment),
        b: &b.words(&environment),
        seed: session.seed,
        again: &again(asked),
        notes: &notes,
    };
    let (text, exit) = conclude(&heading, collected, &counted, &tolerances)?;
    stdout::print(&text)?;
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

/// No peers: each side is ours.
pub(crate) fn needs(services: &[String], micro: &[String]) -> Needs {
    Needs {
        services: !services.is_empty(),
        micro: micro.to_vec(),
        ..Needs::default()
    }
}

/// From what was measured to what is printed and how the command ends.
fn conclude(
    heading: &Heading<'_>,
    collected: Collected,
    instructions: &Pair,
    tolerances: &Tolerances<'_>,
) -> anyhow::Result<(String, Exit)> {
    let rows = verdict::rows(
        &collected,
        instructions,
        |key| tolerances.of(key),
        heading.seed,
    );
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

/// One of the two that are compared.
enum Version {
    Baseline(Baseline),
    /// As it was asked for, and its short name.
    Commit {
        asked: String,
        short: String,
    },
    ThisTree,
}

impl Version {
    /// What `name` names; a baseline of that name comes before a commit. `None` if it is neither, which is told.
    fn find(
        session: &Session,
        name: &str,
        environment: &Environment,
    ) -> anyhow::Result<Option<Self>> {
        if let Some(baseline) = Baseline::find(&session.out, name, &environment.machine_class)? {
            return Ok(Some(Self::Baseline(baseline)));
        }
        let words = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--short=12",
            "--end-of-options",
        ];
        let found = std::process::Command::new("git")
            .arg("-C")
            .arg(&session.root)
            .args(words)
            .arg(format!("{name}^{{commit}}"))
            .output()
            .context("cannot start git")?;
        if !found.status.success() {
            eprintln!(
                "error: no baseline, commit or suite is called {name}; `cargo xtask bench baseline list`, `git log \
                 --oneline` and `cargo xtask bench list` name some"
            );
            return Ok(None);
        }
        Ok(Some(Self::Commit {
            asked: name.to_owned(),
            short: String::from_utf8_lossy(&found.stdout).trim().to_owned(),
        }))
    }

    fn binaries(&self, session: &Session, needs: &Needs) -> anyhow::Result<Binaries> {
        match self {
            Self::Baseline(baseline) => Ok(baseline.binaries()),
            Self::Commit { asked, .. } => Binaries::of_worktree(session, asked, needs),
            Self::ThisTree => Binaries::build(session, needs),
        }
    }

    /// As people call it.
    fn words(&self, environment: &Environment) -> String {
        match self {
            Self::Baseline(baseline) => format!("baseline {} ({})", baseline.name, baseline.about),
            Self::Commit { asked, short } => format!("{asked} ({short})"),
            Self::ThisTree => this_tree(environment),
        }
    }
}

fn this_tree(environment: &Environment) -> String {
    let commit = environment.git_revision.as_deref().unwrap_or("unknown");
    let changes = match environment.git_dirty {
        Some(true) => " and changes",
        _ => "",
    };
    format!(
        "this tree ({}{changes})",
        commit.get(..12).unwrap_or(commit)
    )
}

fn again(asked: &Compare) -> String {
    let mut words = vec![
        "cargo xtask bench compare".to_owned(),
        asked.against.clone(),
    ];
    words.extend(asked.with.clone());
    words.extend(asked.suites.iter().cloned());
    words.extend(
        asked
            .tolerance
            .map(|share| format!("--tolerance {}%", share * 100.0)),
    );
    words.join(" ")
}

/// Counts those of the micro benches of both sides, where valgrind is there.
fn instructions(
    session: &Session,
    blocks: &Blocks<'_>,
    counted: &mut Pair,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    let programs: Vec<_> = blocks.micro().collect();
    if programs.is_empty() {
        return Ok(());
    }
    let Some(counter) = Counter::find() else {
        notes.push(MISSING.to_owned());
        return Ok(());
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use harness::Metric;
    use harness::stats::Verdict;
    use loadgen::Stop;

    use super::blocks::Side;
    use super::*;

    /// Two metrics of a scenario as a noisy machine would give them, when B does `rate` times as much for `cpu` times
    /// the work.
    struct Fake {
        random: fastrand::Rng,
        noise: f64,
        rate: f64,
        cpu: f64,
    }

    impl Fake {
        fn block(&mut self, side: Side) -> Vec<Metric> {
            let (rate, cpu) = match side {
                Side::A => (1.0, 1.0),
                Side::B => (self.rate, self.cpu),
            };
            let mut metric = |name: &str, unit: &str, value: f64| -> Metric {
                let value = value * (1.0 + self.noise * (self.random.f64() - 0.5));
                format!("METRIC hello closed-16 ours {name} {unit} {value} {value} {value} 1")
                    .parse()
                    .expect("a line")
            };
            vec![
                metric("rate", "req/s", 40_000.0 * rate),
                metric("cpu_per_request", "us", 21.0 * cpu),
            ]
        }
    }

    const UNCALIBRATED: Tolerances<'_> = Tolerances {
        asked: None,
        calibration: None,
    };

    /// From blocks to the text and the exit code; one block takes half a second.
    fn compared(mut fake: Fake, seed: u64, max_time: Option<Duration>) -> (String, Exit) {
        let clock = Cell::new(Duration::ZERO);
        let collected = collect(
            Plan {
                max_time,
                ..Plan::usual(seed)
            },
            &Stop::new(),
            || clock.get(),
            |side| {
                clock.set(clock.get() + Duration::from_millis(500));
                Ok(fake.block(side))
            },
            |_| {},
        );
        let heading = Heading {
            a: "main (3f2a91c)",
            b: "this tree (77d01aa)",
            seed,
            again: "cargo xtask bench compare main",
            notes: &[],
        };
        conclude(&heading, collected, &Pair::default(), &UNCALIBRATED).expect("rows")
    }

    fn fake(noise: f64, rate: f64, cpu: f64) -> Fake {
        Fake {
            random: fastrand::Rng::with_seed(11),
            noise,
            rate,
            cpu,
        }
    }

    #[test]
    fn a_slower_tree_ends_with_1_and_says_which_metric() {
        let (text, exit) = compared(fake(0.05, 0.9, 1.0), 1, None);
        assert_eq!(exit, Exit::Regressed);
        let line = |name| {
            text.lines()
                .find(|line| line.trim_start().starts_with(name))
        };
        assert!(
            line("rate").is_some_and(|line| line.ends_with("- REGRESSED")),
            "{text}"
        );
        assert!(
            line("cpu_per").is_some_and(|line| line.ends_with("= EQUAL")),
            "{text}"
        );
        assert!(text.contains("\n1 regressed, 0 improved, 1 equal, 0 inconclusive\n"));
    }

    #[test]
    fn a_faster_tree_ends_with_0() {
        let (text, exit) = compared(fake(0.05, 1.0, 0.8), 1, None);
        assert_eq!(exit, Exit::Fine);
        assert!(text.contains("+ IMPROVED"), "{text}");
    }

    #[test]
    fn too_little_time_is_no_verdict_and_names_the_command_that_gives_one() {
        let max_time = Some(Duration::from_secs(4));
        let (text, exit) = compared(fake(0.05, 0.9, 1.0), 1, max_time);
        assert_eq!(exit, Exit::Fine);
        assert!(text.contains("3 pairs, and 8 are the least"), "{text}");
        assert!(
            text.ends_with("next: cargo xtask bench compare main --max-time 90s\n"),
            "{text}"
        );
    }

    #[test]
    fn the_same_tree_is_equal_or_open_and_hardly_ever_raises_an_alarm() {
        let mut alarms = 0;
        for seed in 0..200 {
            let same = Fake {
                random: fastrand::Rng::with_seed(1_000 + seed),
                ..fake(0.15, 1.0, 1.0)
            };
            let max_time = Some(Duration::from_secs(15));
            let (text, exit) = compared(same, seed, max_time);
            alarms += u32::from(exit == Exit::Regressed || text.contains("IMPROVED"));
        }
        // Less than 2 %, although the tolerance is well below the noise.
        assert!(alarms < 4, "{alarms} of 200");
    }

    #[test]
    fn a_side_that_cannot_be_measured_is_an_error_and_keeps_what_came_before() {
        let pair = |fake: &mut Fake| Pair {
            a: fake.block(Side::A),
            b: fake.block(Side::B),
        };
        let (mut same, none) = (fake(0.01, 1.0, 1.0), Pair::default());
        let heading = Heading {
            a: "a",
            b: "b",
            seed: 1,
            again: "",
            notes: &[],
        };
        let failed = |pairs| Collected {
            pairs,
            planned: 20,
            ended: Some(Ended::Failed(anyhow::anyhow!("hello of side A: no port"))),
            ..Collected::default()
        };
        let collected = failed((0..12).map(|_| pair(&mut same)).collect());
        let told = conclude(&heading, collected, &none, &UNCALIBRATED);
        let (text, exit) = told.expect("rows");
        assert_eq!(exit, Exit::Failed);
        assert!(
            text.contains("after 12 of 20 pairs: hello of side A: no port"),
            "{text}"
        );
        let error = conclude(&heading, failed(Vec::new()), &none, &UNCALIBRATED);
        assert_eq!(
            error.expect_err("no rows").to_string(),
            "hello of side A: no port"
        );
    }

    #[test]
    fn each_metric_gets_what_the_machine_needs_unless_somebody_says_less_is_wanted() {
        let key = |metric: &str| Key {
            suite: "hello".into(),
            name: "closed-16".into(),
            metric: metric.into(),
            unit: "us".into(),
        };
        let calibration =
            Calibration::of("one", &[(key("response_p99"), 0.07), (key("rate"), 0.01)]);
        let tolerances = Tolerances {
            asked: None,
            calibration: Some(&calibration),
        };
        assert_eq!(tolerances.of(&key("response_p99")), 0.07);
        assert_eq!(tolerances.of(&key("rate")), USUAL_TOLERANCE);
        assert_eq!(tolerances.of(&key("rss_steady")), USUAL_TOLERANCE);
        let hello = ["hello".to_owned()];
        assert_eq!(tolerances.refuse(hello.iter()), None);
        let asked = Tolerances {
            asked: Some(0.03),
            ..tolerances
        };
        let refusal = asked.refuse(hello.iter()).expect("below a floor");
        assert!(
            refusal.contains("response_p99 differs by up to 7.0 %"),
            "{refusal}"
        );
        assert_eq!(
            Tolerances {
                asked: Some(0.07),
                ..tolerances
            }
            .of(&key("rate")),
            0.07
        );
    }

    #[test]
    fn no_word_means_every_scenario_and_no_micro_bench() {
        let (scenarios, micro) = chosen(&[]);
        assert!(scenarios.iter().any(|name| name == "hello") && micro.is_empty());
        let (scenarios, micro) = chosen(&["tiered-cache".to_owned(), "hello".to_owned()]);
        assert_eq!(
            (scenarios, micro),
            (vec!["hello".into()], vec!["tiered-cache".into()])
        );
    }

    #[test]
    fn the_command_to_repeat_is_the_one_that_was_typed() {
        let asked = Compare {
            against: "main".into(),
            with: Some("v2".into()),
            suites: vec!["hello".into()],
            tolerance: Some(0.05),
            max_time: None,
        };
        assert_eq!(
            again(&asked),
            "cargo xtask bench compare main v2 hello --tolerance 5%"
        );
    }

    #[test]
    fn verdicts_are_the_words_of_the_table() {
        for verdict in [
            Verdict::Regressed,
            Verdict::Improved,
            Verdict::Equal,
            Verdict::Inconclusive,
        ] {
            let word = format!("{verdict:?}").to_uppercase();
            assert!(table::word(verdict).ends_with(&word));
        }
    }
}
