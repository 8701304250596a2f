//! One bench from set-up to figures: warm-up, calibration, and the turns that subjects take.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::calibrate;
use crate::stats::{self, Interval};
use crate::suite::Subject;
use crate::work::{Clock, Lanes, Work};

/// How long what takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// One sample.
    pub(crate) sample: Duration,
    /// Before the first sample of a subject.
    pub(crate) warm_up: Duration,
    /// All samples of a subject.
    pub(crate) time: Duration,
    /// Order of turns, resampling.
    pub(crate) seed: u64,
}

/// What a bench came to.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    pub(crate) failures: Vec<Failure>,
}

/// The figures of a subject on a number of lanes.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) ours: bool,
    /// `-t2`, `-c64`, or nothing for one lane.
    pub(crate) suffix: String,
    /// ns for each operation.
    pub(crate) time: Interval,
    pub(crate) samples: usize,
    /// On one lane only: allocations are counted for one thread.
    pub(crate) allocations: Option<Allocations>,
}

/// What an operation allocates on the average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allocations {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
    /// Operations counted.
    pub(crate) operations: u64,
}

/// A subject that panicked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) label: String,
    pub(crate) panic: String,
}

/// Measures `subjects` of a bench in turns. Once `stopped` says so, ends after the sample under way; rows without a
/// sample are left out.
pub(crate) fn measure(
    threads: &[usize],
    concurrency: &[usize],
    subjects: Vec<Subject>,
    plan: Plan,
    stopped: &dyn Fn() -> bool,
) -> Measured {
    let mut measured = Measured::default();
    let mut runners = Vec::new();
    for subject in subjects {
        if stopped() {
            break;
        }
        let Subject {
            label,
            ours,
            set_up,
        } = subject;
        match attempt(set_up) {
            Ok(work) => runners.push(Runner::new(label, ours, work, threads, concurrency)),
            Err(panic) => measured.failures.push(Failure { label, panic }),
        }
    }
    runners.retain_mut(|runner| match attempt(|| runner.prepare(plan)) {
        Ok(()) => true,
        Err(panic) => {
            measured.failures.push(Failure {
                label: runner.label.clone(),
                panic,
            });
            false
        }
    });
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let turns: u32 = runners.iter().map(|runner| runner.lines.len() as u32).sum();
    let (start, time) = (Instant::now(), plan.time * turns);
    while !stopped() && start.elapsed() < time && !runners.is_empty() {
        let mut order: Vec<(usize, usize)> = (0..runners.len())
            .flat_map(|index| (0..runners[index].lines.len()).map(move |line| (index, line)))
            .collect();
        random.shuffle(&mut order);
        for (index, line) in order {
            if stopped() {
                break;
            }
            runners[index].sample(line);
        }
    }
    for runner in runners {
        measured.rows.extend(runner.rows(plan.seed));
    }
    measured
}

/// Does so many operations, unmeasured.
pub(crate) fn iterate(subject: Subject, iterations: u64) {
    (subject.set_up)().run(iterations, 1, Clock::Stopped);
}

struct Runner {
    label: String,
    ours: bool,
    work: Box<dyn Work>,
    lines: Vec<Line>,
    allocations: Option<Allocations>,
}

struct Line {
    lanes: usize,
    iterations: u64,
    times: Vec<f64>,
}

impl Runner {
    fn new(
        label: String,
        ours: bool,
        work: Box<dyn Work>,
        threads: &[usize],
        concurrency: &[usize],
    ) -> Self {
        let lanes = match work.lanes() {
            Lanes::One => &[1],
            Lanes::Threads => threads,
            Lanes::Futures => concurrency,
        };
        let line = |&lanes: &usize| Line {
            lanes,
            iterations: 1,
            times: Vec::new(),
        };
        Self {
            label,
            ours,
            lines: lanes.iter().map(line).collect(),
            work,
            allocations: None,
        }
    }

    fn prepare(&mut self, plan: Plan) {
        for line in &mut self.lines {
            let start = Instant::now();
            loop {
                line.iterations = calibrate::iterations(plan.sample, |iterations| {
                    self.work.run(iterations, line.lanes, Clock::Running)
                });
                if start.elapsed() >= plan.warm_up {
                    break;
                }
            }
            if line.lanes == 1 {
                let operations = line.iterations;
                let info = allocation_counter::measure(|| {
                    self.work.run(operations, 1, Clock::Stopped);
                });
                self.allocations = Some(Allocations {
                    count: info.count_total as f64 / operations as f64,
                    bytes: info.bytes_total as f64 / operations as f64,
                    operations,
                });
            }
        }
    }

    fn sample(&mut self, line: usize) {
        let line = &mut self.lines[line];
        let time = self.work.run(line.iterations, line.lanes, Clock::Running);
        line.times
            .push(time.as_secs_f64() * 1e9 / line.iterations as f64);
    }

    fn rows(self, seed: u64) -> Vec<Row> {
        let word = match self.work.lanes() {
            Lanes::Futures => "c",
            Lanes::One | Lanes::Threads => "t",
        };
        let row = |line: &Line| {
            Some(Row {
                label: self.label.clone(),
                ours: self.ours,
                suffix: if line.lanes == 1 {
                    String::new()
                } else {
                    format!("-{word}{}", line.lanes)
                },
                time: stats::median(&line.times, seed)?,
                samples: line.times.len(),
                allocations: self.allocations.filter(|_| line.lanes == 1),
            })
        };
        self.lines.iter().filter_map(row).collect()
    }
}

fn attempt<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(action)).map_err(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
