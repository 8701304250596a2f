//! `bench calibrate`: this tree is compared with itself; what differs all the same is the machine, and no smaller
//! change can be told on it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::stats::{log_ratios, noise_floor as floor_of};
use serde::{Deserialize, Serialize};

use crate::build::Binaries;
use crate::cli::Calibrate;
use crate::compare::{Blocks, Collected, Ended, Key, Plan, chosen, collect, needs, pair_values};
use crate::environment::Environment;
use crate::session::{Exit, Session};
use crate::stdout;

const SCHEMA_VERSION: u32 = 1;
const FILE: &str = "calibration.json";
/// Longer than a comparison takes: every later one relies on it.
const USUAL_TIME: Duration = Duration::from_secs(180);
/// Fewer may be alike by chance.
const PAIRS_MIN: usize = 12;

/// The noise of one class of machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calibration {
    schema_version: u32,
    pub(crate) machine_class: String,
    git_revision: Option<String>,
    /// RFC 3339.
    measured_at: String,
    pub(crate) floors: Vec<Floor>,
}

/// What one metric differs by although nothing changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floor {
    suite: String,
    name: String,
    metric: String,
    unit: String,
    /// The relative change that 95 of 100 comparisons of `pairs` pairs stay within.
    pub(crate) floor: f64,
    /// As many as a comparison takes if nobody limits its time.
    pairs: usize,
}

/// Compares this tree with itself and keeps what differs.
///
/// # Errors
/// If it cannot be built or run, or what was measured cannot be kept.
pub(crate) fn run(session: &Session, asked: &Calibrate) -> anyhow::Result<Exit> {
    let environment = Environment::before(session);
    let (services, micro) = chosen(&asked.suites);
    let binaries = Binaries::build(session, &needs(&services, &micro))?;
    let mut blocks = Blocks::new(session, [&binaries, &binaries], &services, &micro)?;
    let plan = Plan {
        max_time: asked.max_time,
        usual_time: USUAL_TIME,
        seed: session.seed,
    };
    let phase = session
        .progress
        .phase("calibrating: this tree beside itself", asked.max_time);
    let began = Instant::now();
    let collected = collect(
        plan,
        &session.stop,
        || began.elapsed(),
        |side| blocks.measure(side),
        |so_far| phase.say(so_far.to_string()),
    );
    drop(phase);
    let (text, exit) = finish(&session.out, &environment, collected, session.seed)?;
    stdout::print(&text)?;
    Ok(exit)
}

/// The noise floor of this class of machine, as a share, if it was measured: the largest of all metrics.
pub(crate) fn noise_floor(session: &Session, machine_class: &str) -> Option<f64> {
    let calibration = Calibration::read(&session.out, machine_class).ok()??;
    let floors = calibration.floors.iter().map(|one| one.floor);
    floors.reduce(f64::max)
}

impl Calibration {
    /// What was measured on this class of machine, if anything.
    ///
    /// # Errors
    /// If the file is damaged.
    pub(crate) fn read(out: &Path, machine_class: &str) -> anyhow::Result<Option<Self>> {
        let path = out.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let damaged = || {
            format!(
                "{} is damaged; cargo xtask bench calibrate makes a new one",
                path.display()
            )
        };
        let text = fs::read_to_string(&path).with_context(damaged)?;
        let calibration: Self = serde_json::from_str(&text).with_context(damaged)?;
        let version = calibration.schema_version;
        ensure!(
            version == SCHEMA_VERSION,
            "{} has version {version}, this program reads {SCHEMA_VERSION}; cargo xtask bench calibrate makes a new one",
            path.display()
        );
        let valid = |floor: &Floor| floor.floor.is_finite() && floor.floor >= 0.0;
        ensure!(calibration.floors.iter().all(valid), damaged());
        Ok(Some(calibration).filter(|one| one.machine_class == machine_class))
    }

    #[cfg(test)]
    pub(crate) fn of(machine_class: &str, floors: &[(Key, f64)]) -> Self {
        let floor = |(key, floor): &(Key, f64)| Floor {
            suite: key.suite.clone(),
            name: key.name.clone(),
            metric: key.metric.clone(),
            unit: key.unit.clone(),
            floor: *floor,
            pairs: 20,
        };
        Self {
            schema_version: SCHEMA_VERSION,
            machine_class: machine_class.to_owned(),
            git_revision: None,
            measured_at: String::new(),
            floors: floors.iter().map(floor).collect(),
        }
    }

    /// The floor of one metric.
    pub(crate) fn floor(&self, key: &Key) -> Option<f64> {
        let found = self.floors.iter().find(|floor| floor.key() == *key);
        found.map(|floor| floor.floor)
    }

    /// Why `tolerance` makes no sense for `suites` on this machine, if so.
    pub(crate) fn refuse(&self, tolerance: f64, suites: &[String]) -> Option<String> {
        let mut above: Vec<_> = self
            .floors
            .iter()
            .filter(|floor| suites.contains(&floor.suite) && floor.floor > tolerance)
            .collect();
        above.sort_by(|x, y| y.floor.total_cmp(&x.floor));
        let worst = above.first()?;
        Some(format!(
            "--tolerance {:.1}% is below what this machine can tell: {} {} {} differs by up to {:.1} % although \
             nothing changed ({} metric(s) in all); take --tolerance {:.0}% or more, leave it out to give each metric \
             what it needs, or calibrate again on a quieter machine",
            tolerance * 100.0,
            worst.suite,
            worst.name,
            worst.metric,
            worst.floor * 100.0,
            above.len(),
            (worst.floor * 100.0).ceil()
        ))
    }

    /// Takes over `newer`, metric by metric.
    fn update(&mut self, newer: Self) {
        let is_newer = |floor: &Floor| newer.floors.iter().any(|one| one.key() == floor.key());
        self.floors.retain(|floor| !is_newer(floor));
        let older = std::mem::replace(self, newer).floors;
        self.floors.extend(older);
    }

    fn write(&self, out: &Path) -> anyhow::Result<PathBuf> {
        let path = out.join(FILE);
        let text = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        let file = tempfile::NamedTempFile::new_in(out).context("cannot make a file")?;
        fs::write(file.path(), text).context("cannot write the calibration")?;
        file.persist(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Floor {
    fn key(&self) -> Key {
        Key {
            suite: self.suite.clone(),
            name: self.name.clone(),
            metric: self.metric.clone(),
            unit: self.unit.clone(),
        }
    }
}

/// From the pairs to the file and what is told about it; what an interrupt left is enough if there are a few of them.
fn finish(
    out: &Path,
    environment: &Environment,
    collected: Collected,
    seed: u64,
) -> anyhow::Result<(String, Exit)> {
    let interrupted = matches!(collected.ended, Some(Ended::Interrupted));
    if interrupted && collected.pairs.len() < PAIRS_MIN {
        eprintln!("interrupted before there was enough to keep");
        return Ok((String::new(), Exit::Interrupted));
    }
    let newer = Calibration {
        schema_version: SCHEMA_VERSION,
        machine_class: environment.machine_class.clone(),
        git_revision: environment.git_revision.clone(),
        measured_at: environment.started_at.clone(),
        floors: floors(&collected, seed),
    };
    if let Some(Ended::Failed(error)) = collected.ended {
        return Err(error.context("nothing was kept"));
    }
    ensure!(
        collected.pairs.len() >= PAIRS_MIN,
        "{} pairs are too few to tell noise; {PAIRS_MIN} take --max-time {}s",
        collected.pairs.len(),
        (collected.pair_time.as_secs_f64() * (PAIRS_MIN + 2) as f64).ceil()
    );
    let table = table(&newer);
    let mut kept = Calibration::read(out, &newer.machine_class)
        .ok()
        .flatten()
        .unwrap_or_else(|| newer.clone());
    kept.update(newer);
    let path = kept.write(out)?;
    let text = format!(
        "{table}kept in {}\nnext: cargo xtask bench compare REV\n",
        path.display()
    );
    let exit = if interrupted {
        Exit::Interrupted
    } else {
        Exit::Fine
    };
    Ok((text, exit))
}

fn floors(collected: &Collected, seed: u64) -> Vec<Floor> {
    let pairs = collected.usual_pairs();
    pair_values(&collected.pairs)
        .into_iter()
        .filter_map(|(key, a, b)| {
            // Not of a metric that is zero, of which there is no share.
            let ratios = log_ratios(&a, &b).ok()?;
            Some(Floor {
                floor: floor_of(&ratios, pairs, seed)?,
                pairs,
                suite: key.suite,
                name: key.name,
                metric: key.metric,
                unit: key.unit,
            })
        })
        .collect()
}

fn table(calibration: &Calibration) -> String {
    let mut text =
        "what differs although nothing changed, in 95 of 100 comparisons of so many pairs:\n"
            .to_owned();
    for floor in &calibration.floors {
        // Writing into a string cannot fail.
        let _ = writeln!(
            text,
            "  {:<44} {:>5.1} %  ({} pairs)",
            format!("{} {} {}", floor.suite, floor.name, floor.metric),
            floor.floor * 100.0,
            floor.pairs
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Pair;

    fn environment() -> Environment {
        Environment {
            machine_class: "one".into(),
            started_at: "2026-01-02T03:04:05Z".into(),
            ..Environment::default()
        }
    }

    /// So many pairs of a metric that varies by up to `noise` and does not change.
    fn collected(suite: &str, noise: f64, pairs: usize) -> Collected {
        let mut random = fastrand::Rng::with_seed(5);
        let mut block = || {
            let value = 1_000.0 * (1.0 + noise * (random.f64() - 0.5));
            let line = format!("METRIC {suite} closed-8 ours rate req/s {value} {value} {value} 1");
            vec![line.parse().expect("a line")]
        };
        Collected {
            pairs: (0..pairs)
                .map(|_| Pair {
                    a: block(),
                    b: block(),
                })
                .collect(),
            pair_time: Duration::from_secs(2),
            ..Collected::default()
        }
    }

    fn calibrated(out: &Path, suite: &str, noise: f64) -> Calibration {
        let exit = finish(out, &environment(), collected(suite, noise, 20), 1);
        assert_eq!(exit.expect("kept").1, Exit::Fine);
        Calibration::read(out, "one")
            .expect("whole")
            .expect("there")
    }

    #[test]
    fn a_noisier_machine_has_a_higher_floor() {
        let out = tempfile::tempdir().expect("a folder");
        let quiet = calibrated(out.path(), "hello", 0.01).floors[0].floor;
        let noisy = calibrated(out.path(), "hello", 0.20).floors[0].floor;
        assert!((0.000_5..0.01).contains(&quiet), "{quiet}");
        assert!((0.01..0.2).contains(&noisy), "{noisy}");
    }

    #[test]
    fn a_suite_that_is_calibrated_again_leaves_the_others() {
        let out = tempfile::tempdir().expect("a folder");
        calibrated(out.path(), "hello", 0.01);
        calibrated(out.path(), "cached-read", 0.01);
        let both = calibrated(out.path(), "hello", 0.20);
        assert_eq!(both.floors.len(), 2);
        let floor = |suite: &str| both.floors.iter().find(|one| one.suite == suite);
        assert!(floor("hello").expect("hello").floor > floor("cached-read").expect("it").floor);
        let file = fs::read_dir(out.path()).expect("a folder").count();
        assert_eq!(file, 1, "no file is left beside it");
    }

    #[test]
    fn another_machine_has_no_floor_and_a_damaged_file_is_named() {
        let out = tempfile::tempdir().expect("a folder");
        let read = |class| Calibration::read(out.path(), class);
        assert_eq!(read("one").expect("no file"), None);
        calibrated(out.path(), "hello", 0.01);
        assert_eq!(read("two").expect("a file"), None);
        fs::write(out.path().join(FILE), "{}").expect("a file");
        let error = format!("{:#}", read("one").expect_err("damaged"));
        assert!(error.contains("calibration.json is damaged"), "{error}");
        // Calibrating again is the way out, so it must not stumble over the file.
        calibrated(out.path(), "hello", 0.01);
    }

    #[test]
    fn a_tolerance_below_a_floor_is_refused_with_what_would_do() {
        let out = tempfile::tempdir().expect("a folder");
        let mut calibration = calibrated(out.path(), "hello", 0.01);
        calibration.floors[0].floor = 0.034;
        let hello = ["hello".to_owned()];
        let why = calibration.refuse(0.02, &hello).expect("below");
        assert!(
            why.contains("hello closed-8 rate differs by up to 3.4 %"),
            "{why}"
        );
        assert!(why.contains("--tolerance 4%"), "{why}");
        assert_eq!(calibration.refuse(0.04, &hello), None);
        assert_eq!(calibration.refuse(0.02, &["cached-read".to_owned()]), None);
    }

    #[test]
    fn too_little_is_not_kept() {
        let out = tempfile::tempdir().expect("a folder");
        let error = finish(out.path(), &environment(), collected("hello", 0.01, 3), 1);
        let error = error.expect_err("three pairs").to_string();
        assert!(error.contains("--max-time 28s"), "{error}");
        let interrupted = Collected {
            ended: Some(Ended::Interrupted),
            ..collected("hello", 0.01, 3)
        };
        let (_, exit) = finish(out.path(), &environment(), interrupted, 1).expect("told");
        assert_eq!(exit, Exit::Interrupted);
        let failed = Collected {
            ended: Some(Ended::Failed(anyhow::anyhow!("the server ended"))),
            ..collected("hello", 0.01, 20)
        };
        let error = finish(out.path(), &environment(), failed, 1).expect_err("a failure");
        assert!(format!("{error:#}").contains("the server ended"));
        assert!(!out.path().join(FILE).exists());
    }
}
