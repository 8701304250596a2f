//! Instructions per operation, counted by valgrind: hardly any noise, so that a small change shows on a busy machine
//! too. What a program does around its operations cancels out: it runs with some number of them and with twice as many.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use harness::Metric;
use harness::stats::quantile;

use crate::child;
use crate::session::Session;

/// Operations until one costs this much in all: set-up with random hash seeds varies by a thousandth of it.
const INSTRUCTIONS: f64 = 20e6;
const OPERATIONS_MIN: u64 = 10;
const OPERATIONS_MAX: u64 = 1_000_000;
/// Instructions of an operation that takes a while under valgrind.
const DEAR: f64 = 1e5;
/// Differences that are measured; their range is the interval.
const REPETITIONS: u64 = 3;

/// What counts.
#[derive(Debug)]
pub(crate) struct Counter {
    valgrind: PathBuf,
    /// Fixes where programs lie in memory, which some hash functions see.
    setarch: Option<PathBuf>,
}

/// Whose instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Ours and the peers.
    All,
    /// Ours.
    Ours,
}

impl Counter {
    /// `None` where valgrind is not installed.
    pub(crate) fn find() -> Option<Self> {
        Some(Self {
            valgrind: on_path("valgrind")?,
            setarch: on_path("setarch").filter(|setarch| is_allowed(setarch)),
        })
    }

    /// Counts each bench of the program `micro`, on one thread. What cannot be counted is told to `note` and left out.
    ///
    /// # Errors
    /// If the program cannot list its benches, or after Ctrl-C.
    pub(crate) fn count(
        &self,
        session: &Session,
        micro: &Path,
        subjects: Subjects,
        mut metric: impl FnMut(Metric),
        mut note: impl FnMut(String),
    ) -> anyhow::Result<()> {
        let benches = list(session, micro)?;
        let chosen = benches
            .iter()
            .filter(|bench| subjects == Subjects::All || bench.subject == bench.suite);
        let phase = session.progress.phase("counting instructions", None);
        for bench in chosen {
            phase.say(format!("{} {} {}", bench.suite, bench.name, bench.subject));
            let counted = per_operation(|operations| self.run(session, micro, bench, operations));
            ensure!(!session.stop.is_stopped(), "interrupted");
            match counted {
                Ok([value, low, high]) => metric(Metric {
                    suite: bench.suite.clone(),
                    name: bench.name.clone(),
                    subject: bench.subject.clone(),
                    metric: "instructions".to_owned(),
                    unit: "count".to_owned(),
                    value,
                    low,
                    high,
                    samples: REPETITIONS,
                }),
                Err(error) => note(format!(
                    "instructions of {} {} {} were not counted: {error:#}",
                    bench.suite, bench.name, bench.subject
                )),
            }
        }
        Ok(())
    }

    /// All instructions of one run with so many operations.
    fn run(
        &self,
        session: &Session,
        micro: &Path,
        bench: &Listed,
        operations: u64,
    ) -> anyhow::Result<u64> {
        let file = tempfile::NamedTempFile::new_in(&session.out)
            .context("cannot make a file for valgrind")?;
        let mut command = match &self.setarch {
            Some(setarch) => {
                let mut command = Command::new(setarch);
                command.arg("--addr-no-randomize").arg(&self.valgrind);
                command
            }
            None => Command::new(&self.valgrind),
        };
        let mut out = std::ffi::OsString::from("--callgrind-out-file=");
        out.push(file.path());
        command
            .args(["--tool=callgrind", "--quiet"])
            .arg(out)
            .arg(micro)
            .args(["--only", &bench.name, &bench.subject])
            .args(["--iterations", &operations.to_string()])
            .stderr(Stdio::null());
        let status = child::run(&mut command, &session.stop, |_| {})?;
        ensure!(status.success(), "valgrind ended with {status}");
        let text = std::fs::read_to_string(file.path()).context("cannot read what it counted")?;
        total(&text)
    }
}

/// What is said, once, where nothing can be counted.
pub(crate) const MISSING: &str = "valgrind is not installed, so that instructions were not counted; wall-clock time \
                                  of micro benches varies more";

/// One line of `--list`.
#[derive(Debug, PartialEq)]
struct Listed {
    suite: String,
    name: String,
    subject: String,
}

fn list(session: &Session, micro: &Path) -> anyhow::Result<Vec<Listed>> {
    let mut benches = Vec::new();
    let mut command = Command::new(micro);
    let status = child::run(command.arg("--list"), &session.stop, |line| {
        benches.extend(listed(line));
    })?;
    ensure!(
        status.success(),
        "{} --list ended with {status}",
        micro.display()
    );
    Ok(benches)
}

/// `BENCH suite name subject about`.
fn listed(line: &str) -> Option<Listed> {
    let mut words = line.strip_prefix("BENCH ")?.split(' ').map(str::to_owned);
    Some(Listed {
        suite: words.next()?,
        name: words.next()?,
        subject: words.next()?,
    })
}

/// The middle, the lowest and the highest of some differences between `n` and `2 n` operations, each for one operation.
fn per_operation(mut count: impl FnMut(u64) -> anyhow::Result<u64>) -> anyhow::Result<[f64; 3]> {
    let mut difference = |from: u64, to: u64| -> anyhow::Result<f64> {
        let (less, more) = (count(from)? as f64, count(to)? as f64);
        Ok((more - less) / (to - from) as f64)
    };
    // A few tell enough of a dear one; a cheap one drowns in what varies around it.
    let mut roughly = difference(1, 1 + OPERATIONS_MIN)?;
    if roughly < DEAR {
        roughly = difference(1, 1 + 10 * OPERATIONS_MIN)?.max(1.0);
    }
    let operations = ((INSTRUCTIONS / roughly) as u64).clamp(OPERATIONS_MIN, OPERATIONS_MAX);
    let mut counts = Vec::new();
    for _ in 0..REPETITIONS {
        // An operation of a few instructions drowns in the variation of what is around it.
        counts.push(difference(operations, 2 * operations)?.max(0.0));
    }
    let at = |share| quantile(&counts, share).unwrap_or_default();
    Ok([at(0.5), at(0.0), at(1.0)])
}

/// The total of a file that callgrind wrote: the first event, instructions.
fn total(text: &str) -> anyhow::Result<u64> {
    let total = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|rest| rest.split_whitespace().next());
    match total.map(str::parse) {
        Some(Ok(total)) => Ok(total),
        _ => bail!("valgrind wrote no `totals:`, which it does at an orderly end"),
    }
}

/// Containers often forbid it.
fn is_allowed(setarch: &Path) -> bool {
    let mut command = Command::new(setarch);
    let tried = command.args(["--addr-no-randomize", "true"]);
    let status = tried.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const WRITTEN: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 4983\n\npositions: line\n\
                           events: Ir\nsummary: 29680121\n\n\nfn=(1) main\n5 12\n\ntotals: 29680121\n";

    #[test]
    fn the_total_is_read_and_a_file_without_one_is_refused() {
        assert_eq!(total(WRITTEN).expect("a total"), 29_680_121);
        let events = WRITTEN.replace("totals: 29680121", "totals: 29680121 5 7");
        assert_eq!(total(&events).expect("a total"), 29_680_121);
        for text in ["", "totals: many", &WRITTEN[..WRITTEN.len() - 17]] {
            let error = total(text).expect_err(text).to_string();
            assert!(error.contains("orderly end"), "{error}");
        }
    }

    #[test]
    fn what_is_around_the_operations_cancels_out() {
        let counted = per_operation(|operations| Ok(29_000_000 + 128 * operations));
        assert_eq!(counted.expect("a count"), [128.0, 128.0, 128.0]);
    }

    #[test]
    fn cheap_operations_are_repeated_more_often_within_bounds() {
        for (cost, operations) in [
            (1, 1_000_000),
            (200, 100_000),
            (1_000_000, 20),
            (10_000_000, 10),
        ] {
            let asked = RefCell::new(Vec::new());
            let counted = per_operation(|operations| {
                asked.borrow_mut().push(operations);
                Ok(cost * operations)
            });
            counted.expect("a count");
            let mut expected = vec![1, 11];
            if cost < 100_000 {
                expected.extend([1, 101]);
            }
            expected.extend([operations, 2 * operations].repeat(3));
            assert_eq!(asked.into_inner(), expected);
        }
    }

    #[test]
    fn a_set_up_that_varies_shows_as_an_interval() {
        let mut random = fastrand::Rng::with_seed(1);
        let counted = per_operation(|n| Ok(29_000_000 + random.u64(..20_000) + 100 * n));
        let [value, low, high] = counted.expect("a count");
        assert!(low < high && low <= value && value <= high);
        assert!((value - 100.0).abs() < 0.2, "{value}");
    }

    #[test]
    fn benches_are_read_from_the_list_and_other_lines_are_not() {
        let bench = listed("BENCH tiered-cache memory-hit moka moka: a get of a present key");
        let bench = bench.expect("a bench");
        assert_eq!(
            (bench.name.as_str(), bench.subject.as_str()),
            ("memory-hit", "moka")
        );
        assert_eq!(listed("memory-hit"), None);
        assert_eq!(listed("BENCH tiered-cache"), None);
    }
}
