//! One bench from set-up to figures: subjects warm up, then take turns in a new order each round.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Subject};
use crate::cores::Cores;
use crate::prepared::{Prepared, Row};
use crate::work::{Clock, Plain};

/// A median of fewer says nothing, however slow the operation.
const ROUNDS_MIN: usize = 5;

/// How long what takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One sample.
    pub(crate) sample: Duration,
    /// Each row before its first sample.
    pub(crate) warm_up: Duration,
    /// All samples of a row.
    pub(crate) time: Duration,
    /// Order of turns, resampling.
    pub(crate) seed: u64,
}

/// What a bench came to.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Ours first, all rows of a subject one after the other.
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failure>,
    /// What else has no row, and why, in sentences.
    pub(crate) left_out: Vec<String>,
}

/// A subject that panicked; it has no rows.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) label: String,
    pub(crate) panic: String,
}

/// Measures a bench. Once `stopped`, ends after the sample under way; what has no sample then has no row.
pub(crate) fn measure(
    bench: Bench,
    plan: Plan,
    cores: &Cores,
    stopped: &dyn Fn() -> bool,
) -> Measured {
    let count = cores.numbers().len();
    let (threads, crowded): (Vec<usize>, Vec<usize>) = bench
        .threads
        .iter()
        .partition(|&&threads| threads == 1 || threads <= count);
    let mut left_out: Vec<_> = crowded
        .iter()
        .map(|threads| format!("{threads} threads are left out: {}", too_few(count)))
        .collect();
    let mut failures = Vec::new();
    let mut failed = |label: &str, panic| {
        let label = label.to_owned();
        failures.push(Failure { label, panic });
    };
    let mut subjects = bench.subjects;
    subjects.sort_by_key(|subject| !subject.ours);
    let mut prepared: Vec<Prepared> = Vec::new();
    for subject in subjects {
        if stopped() {
            break;
        }
        let label = subject.label.clone();
        match attempt(|| Prepared::new(subject, &threads, &bench.concurrency, cores)) {
            Ok(subject) => prepared.push(subject),
            Err(panic) => failed(&label, panic),
        }
    }
    // After all set-ups, so that what one leaves behind in caches and allocator is there for all.
    prepared.retain_mut(|subject| {
        let warm = attempt(|| {
            if !stopped() {
                subject.warm_up(plan);
            }
        });
        warm.map_err(|panic| failed(&subject.label, panic)).is_ok()
    });
    take_turns(&mut prepared, plan, stopped, failed);
    for subject in &prepared {
        left_out.extend(subject.missed().map(|threads| {
            let label = &subject.label;
            format!("{label} on {threads} threads is left out: they seldom ran at the same time")
        }));
    }
    Measured {
        rows: prepared
            .iter()
            .flat_map(|subject| subject.rows(plan.seed))
            .collect(),
        failures,
        left_out,
    }
}

/// Why threads cannot be measured at once.
fn too_few(cores: usize) -> String {
    match cores {
        0 => "the system does not keep each on a core of its own".to_owned(),
        cores => format!("each needs a core of its own, and this program may use {cores}"),
    }
}

/// Does so many operations and nothing else.
pub(crate) fn iterate(subject: Subject, iterations: u64, cores: &Cores) {
    (subject.set_up)(cores).run(iterations, 1, Clock::Stopped);
}

/// What an operation that does nothing seems to take, in ns: it is in every figure.
pub(crate) fn overhead(sample: Duration) -> f64 {
    let plan = Plan {
        sample,
        warm_up: sample,
        time: sample * 10,
        seed: 1,
    };
    let mut empty = Prepared::of("", true, Box::new(Plain::new(|| ())), &[1]);
    empty.warm_up(plan);
    (0..11).for_each(|_| empty.sample(0));
    empty.rows(plan.seed).map(|row| row.time.value).sum()
}

fn take_turns(
    prepared: &mut Vec<Prepared>,
    plan: Plan,
    stopped: &dyn Fn() -> bool,
    mut failed: impl FnMut(&str, String),
) {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let rows: usize = prepared.iter().map(Prepared::lanes).sum();
    let time = plan.time * u32::try_from(rows).unwrap_or(u32::MAX);
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS_MIN || start.elapsed() < time {
        let mut turns: Vec<(usize, usize)> = prepared
            .iter()
            .enumerate()
            .flat_map(|(index, subject)| (0..subject.lanes()).map(move |lane| (index, lane)))
            .collect();
        random.shuffle(&mut turns);
        let mut panicked = None;
        for (index, lane) in turns {
            if stopped() {
                return;
            }
            if let Err(panic) = attempt(|| prepared[index].sample(lane)) {
                panicked = Some((index, panic));
                break;
            }
        }
        if let Some((index, panic)) = panicked {
            failed(&prepared.remove(index).label, panic);
        }
        if prepared.is_empty() {
            return;
        }
        rounds += 1;
    }
}

fn attempt<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever a panic leaves half done belongs to the subject, which is not used again.
    panic::catch_unwind(AssertUnwindSafe(action)).map_err(|panic| text_of(&*panic))
}

/// What a panic said.
pub(crate) fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
