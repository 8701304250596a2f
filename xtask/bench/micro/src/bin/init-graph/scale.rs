//! What a node costs in graphs of ten to a million nodes that do nothing, in each phase, beside the peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{Effort, Figures, Suite};
use tokio::runtime::{Builder, Runtime};

use crate::parts::{Body, counted};
use crate::shapes::{Family, Shape};
use crate::ways::{OURS, OURS_ONLY_START, PEERS, Took, Way};

/// So many nodes, and from which effort on.
const SIZES: [(usize, Effort); 6] = [
    (10, Effort::Smoke),
    (100, Effort::Full),
    (1_000, Effort::Quick),
    (10_000, Effort::Full),
    (100_000, Effort::Normal),
    (1_000_000, Effort::Normal),
];

/// From here on a sample takes seconds: the peers have one each.
const LARGE: usize = 1_000_000;

pub(crate) fn add(suite: &mut Suite) {
    for family in Family::ALL {
        for (parts, least) in SIZES {
            let name = format!("scale-{}-{parts}", family.name());
            let about = format!(
                "{parts} nodes that do nothing, {}; for each node. run: a start without the check that it repeats, on \
                 all cores; total: build, start and report",
                family.about()
            );
            suite
                .figures(&name, &about, move |figures| {
                    figures_of(figures, family, parts);
                })
                .from(least);
        }
    }
}

fn figures_of(figures: &mut Figures<'_>, family: Family, parts: usize) {
    let shape = Arc::new(family.of(parts));
    let runtimes = Runtimes::new(figures);
    let mut subjects: Vec<Subject> = std::iter::once(OURS)
        .chain(PEERS)
        .filter(|way| (way.can)(&shape))
        .map(Subject::new)
        .collect();
    for subject in &mut subjects {
        // Once before anything is measured: that it does the job, and its memory is there.
        let started = counted(|| _ = runtimes.one_thread(subject.way, &shape));
        assert_eq!(started, parts, "{}", subject.way.label);
    }
    let time = match figures.effort() {
        Effort::Smoke => Duration::ZERO,
        Effort::Quick => Duration::from_millis(500),
        Effort::Normal => Duration::from_secs(2),
        Effort::Full => Duration::from_secs(8),
    };
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(1);
    let mut round = 0;
    while round < ROUNDS_MIN || began.elapsed() < time {
        random.shuffle(&mut subjects);
        for subject in &mut subjects {
            let ours = subject.way.label == OURS.label;
            if figures.is_stopped() {
                return;
            }
            if parts >= LARGE && !ours && round > 0 {
                continue;
            }
            subject
                .all_cores
                .push(runtimes.all_cores(subject.way, &shape));
            if ours || parts < LARGE {
                subject
                    .one_thread
                    .push(runtimes.one_thread(subject.way, &shape));
            }
        }
        round += 1;
    }
    subjects.sort_by_key(|subject| subject.way.label != OURS.label);
    for subject in &subjects {
        subject.print(figures, parts);
        memory(figures, &runtimes, subject.way, &shape);
    }
    goals(figures, family, parts);
}

/// Medians of fewer say nothing.
const ROUNDS_MIN: usize = 3;

/// What was measured of one way.
struct Subject {
    way: Way,
    all_cores: Vec<Took>,
    one_thread: Vec<Took>,
}

impl Subject {
    fn new(way: Way) -> Self {
        Self {
            way,
            all_cores: Vec::new(),
            one_thread: Vec::new(),
        }
    }

    fn print(&self, figures: &mut Figures<'_>, parts: usize) {
        let each = |took: &[Took], phase: fn(&Took) -> Option<Duration>| -> Vec<f64> {
            let times = took.iter().filter_map(phase);
            times
                .map(|time| time.as_secs_f64() * 1e9 / parts as f64)
                .collect()
        };
        let build = |took: &Took| match took.build + took.check.unwrap_or_default() {
            Duration::ZERO => None,
            time => Some(time),
        };
        let run = |took: &Took| Some(took.run.saturating_sub(took.repeated()));
        let total = |took: &Took| Some(took.build + took.run + took.report.unwrap_or_default());
        for (metric, samples) in [
            ("build_and_check", each(&self.all_cores, build)),
            ("run", each(&self.all_cores, run)),
            ("run_one_thread", each(&self.one_thread, run)),
            ("total", each(&self.all_cores, total)),
            ("stop", each(&self.all_cores, |took| took.stop)),
        ] {
            put(figures, self.way, metric, "ns", &samples);
        }
    }
}

impl Took {
    /// Ours checks again when it starts; of the others the check is no part of the run.
    fn repeated(&self) -> Duration {
        let check = self.check.filter(|_| self.report.is_some());
        check.unwrap_or_default()
    }
}

/// Takes down ours, or a peer's.
pub(crate) fn put(figures: &mut Figures<'_>, way: Way, metric: &str, unit: &str, samples: &[f64]) {
    if way.label == OURS.label {
        figures.ours(metric, unit, samples);
    } else {
        figures.peer(way.label, metric, unit, samples);
    }
}

/// On one thread, as only that is counted; without report and stop, which peers do not have.
fn memory(figures: &mut Figures<'_>, runtimes: &Runtimes, way: Way, shape: &Arc<Shape>) {
    let only_start = if way.label == OURS.label {
        OURS_ONLY_START
    } else {
        way
    };
    let (_, allocated) = figures.allocations(|| runtimes.one_thread(only_start, shape));
    let each = |value: u64| [value as f64 / shape.parts() as f64];
    put(figures, way, "allocations", "count", &each(allocated.count));
    put(figures, way, "memory", "bytes", &each(allocated.bytes_max));
}

/// Of ten nodes most is what a start costs without any.
fn goals(figures: &mut Figures<'_>, family: Family, parts: usize) {
    if parts < 1_000 {
        return;
    }
    let run = match (family, parts) {
        (Family::Chain, _) => 300.0,
        (_, LARGE..) => 1_600.0,
        _ => 1_000.0,
    };
    figures.goal("build_and_check", "ns", 300.0);
    figures.goal("run", "ns", run);
    figures.goal("run_one_thread", "ns", run);
    figures.goal("allocations", "count", 4.0);
    if parts == LARGE {
        figures.goal("total", "ns", 2e9 / LARGE as f64);
    }
}

/// Both kinds, made once: what a runtime costs is no part of a start.
pub(crate) struct Runtimes {
    all_cores: Runtime,
    one_thread: Runtime,
}

impl Runtimes {
    pub(crate) fn new(figures: &Figures<'_>) -> Self {
        let made = "a runtime needs no more than a few file descriptors";
        Self {
            // Its threads inherit the cores of the thread that makes it.
            all_cores: figures.on_all_cores(|| {
                Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .expect(made)
            }),
            one_thread: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect(made),
        }
    }

    pub(crate) fn all_cores(&self, way: Way, shape: &Arc<Shape>) -> Took {
        let start = (way.start)(Arc::clone(shape), Body::Nothing);
        // On a thread of the runtime: to wake the one that blocks would cost more than most starts.
        let task = self.all_cores.spawn(start);
        self.all_cores.block_on(task).expect("no panic")
    }

    pub(crate) fn one_thread(&self, way: Way, shape: &Arc<Shape>) -> Took {
        let start = (way.start)(Arc::clone(shape), Body::Nothing);
        self.one_thread.block_on(start)
    }
}
