//! A subject that is set up: its iterations, its samples, its allocations, and the rows that they make.

use std::time::Instant;

use crate::bench::Subject;
use crate::calibrate;
use crate::cores::Cores;
use crate::measure::Plan;
use crate::stats::{self, Interval};
use crate::work::{Clock, Lanes, Work};

/// A sample that does not count is taken again, so often in all.
const ATTEMPTS: usize = 3;

/// A subject with the operation that its set-up returned.
pub(crate) struct Prepared {
    pub(crate) label: String,
    ours: bool,
    work: Box<dyn Work>,
    series: Vec<Series>,
    allocations: Option<Allocations>,
}

/// The figures of a subject on one number of lanes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) ours: bool,
    pub(crate) kind: Lanes,
    pub(crate) lanes: usize,
    /// ns for each operation.
    pub(crate) time: Interval,
    pub(crate) samples: u64,
    /// On one lane only.
    pub(crate) allocations: Option<Allocations>,
}

/// What an operation allocates on the average, on its own thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allocations {
    pub(crate) count: f64,
    pub(crate) bytes: f64,
    /// Operations that were counted.
    pub(crate) operations: u64,
}

/// Samples on one number of lanes.
struct Series {
    lanes: usize,
    iterations: u64,
    times: Vec<f64>,
    /// Samples that do not count, as their lanes missed each other.
    missed: usize,
}

/// Each of several futures takes at least so many turns in a sample, or fewer than all would be under way most of the
/// time: at the beginning and the end.
const TURNS_MIN: u64 = 8;

impl Prepared {
    /// Sets `subject` up.
    pub(crate) fn new(
        subject: Subject,
        threads: &[usize],
        concurrency: &[usize],
        cores: &Cores,
    ) -> Self {
        let work = (subject.set_up)(cores);
        let lanes = match work.lanes() {
            Lanes::One => &[1],
            Lanes::Threads => threads,
            Lanes::Futures => concurrency,
        };
        Self::of(&subject.label, subject.ours, work, lanes)
    }

    pub(crate) fn of(label: &str, ours: bool, work: Box<dyn Work>, lanes: &[usize]) -> Self {
        let series = |&lanes: &usize| Series {
            lanes,
            iterations: 1,
            times: Vec::new(),
            missed: 0,
        };
        Self {
            label: label.to_owned(),
            ours,
            work,
            series: lanes.iter().map(series).collect(),
            allocations: None,
        }
    }

    /// How many rows it makes, which is how many samples it takes each round.
    pub(crate) fn lanes(&self) -> usize {
        self.series.len()
    }

    /// Runs it until it is warm, finds how many iterations a sample takes, and counts allocations.
    pub(crate) fn warm_up(&mut self, plan: Plan) {
        for series in &mut self.series {
            let start = Instant::now();
            if self.work.lanes() == Lanes::Futures && series.lanes > 1 {
                series.iterations = TURNS_MIN * series.lanes as u64;
            }
            // The fastest of them counts: on a busy machine one that was interrupted would make samples too short.
            loop {
                let iterations = calibrate::iterations(plan.sample, |iterations| {
                    let took = self.work.run(iterations, series.lanes, Clock::Running);
                    took.time
                });
                series.iterations = series.iterations.max(iterations);
                if start.elapsed() >= plan.warm_up {
                    break;
                }
            }
            if series.lanes == 1 {
                self.allocations = Some(Allocations::of(&mut *self.work, series.iterations));
            }
        }
    }

    /// Takes a sample of the series at `index`, again if its lanes missed each other.
    pub(crate) fn sample(&mut self, index: usize) {
        let series = &mut self.series[index];
        for _ in 0..ATTEMPTS {
            let took = self
                .work
                .run(series.iterations, series.lanes, Clock::Running);
            if took.together {
                let nanoseconds = took.time.as_secs_f64() * 1e9 / series.iterations as f64;
                series.times.push(nanoseconds);
                return;
            }
            series.missed += 1;
        }
    }

    /// The numbers of threads of which there are no figures, as they missed each other more often than not.
    pub(crate) fn missed(&self) -> impl Iterator<Item = usize> {
        let missed = self.series.iter().filter(|series| series.is_missed());
        missed.map(|series| series.lanes)
    }

    /// Its figures, except where there is no sample.
    pub(crate) fn rows(&self, seed: u64) -> impl Iterator<Item = Row> {
        let series = self.series.iter().filter(|series| !series.is_missed());
        series.filter_map(move |series| {
            Some(Row {
                label: self.label.clone(),
                ours: self.ours,
                kind: self.work.lanes(),
                lanes: series.lanes,
                time: stats::median(&series.times, seed)?,
                samples: series.times.len() as u64,
                allocations: self.allocations.filter(|_| series.lanes == 1),
            })
        })
    }
}

impl Series {
    fn is_missed(&self) -> bool {
        self.missed > self.times.len()
    }
}

impl Row {
    /// What follows the name of the bench: `-t2`, `-c64`, or nothing for one lane.
    pub(crate) fn suffix(&self) -> String {
        match self.kind {
            Lanes::Threads if self.lanes > 1 => format!("-t{}", self.lanes),
            Lanes::Futures if self.lanes > 1 => format!("-c{}", self.lanes),
            _ => String::new(),
        }
    }
}

impl Allocations {
    fn of(work: &mut dyn Work, operations: u64) -> Self {
        let mut counted = |operations| {
            allocation_counter::measure(|| {
                work.run(operations, 1, Clock::Stopped);
            })
        };
        // What is allocated once for each run, by this crate or a runtime, is in both.
        let (once, twice) = (counted(operations), counted(2 * operations));
        let each = |twice: u64, once: u64| twice.saturating_sub(once) as f64 / operations as f64;
        Self {
            count: each(twice.count_total, once.count_total),
            bytes: each(twice.bytes_total, once.bytes_total),
            operations,
        }
    }
}
