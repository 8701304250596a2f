//! Bench programs in process: what they print, and how they end.

mod allocations;
mod cores;
mod figures;
mod panics;
mod selection;

use std::sync::atomic::AtomicBool;

use harness::{Exit, Metric, Suite};

/// What a run left behind.
struct Ran {
    exit: Exit,
    out: String,
    log: String,
}

impl Ran {
    /// Every line of stdout, which holds nothing but figures.
    fn metrics(&self) -> Vec<Metric> {
        self.out
            .lines()
            .map(|line| line.parse().expect("a METRIC line"))
            .collect()
    }

    /// `name subject` of the times.
    fn timed(&self) -> Vec<String> {
        let metrics = self.metrics();
        let times = metrics.iter().filter(|metric| metric.metric == "time");
        times
            .map(|metric| format!("{} {}", metric.name, metric.subject))
            .collect()
    }
}

/// Whether there is one for each of two threads.
#[cfg(target_os = "linux")]
fn two_cores() -> bool {
    rustix::thread::sched_getaffinity(None).is_ok_and(|cores| cores.count() > 1)
}

/// Elsewhere a thread cannot be kept on one.
#[cfg(not(target_os = "linux"))]
fn two_cores() -> bool {
    false
}

fn run(add: impl FnOnce(&mut Suite), arguments: &str) -> Ran {
    run_until(add, arguments, &AtomicBool::new(false))
}

fn run_until(add: impl FnOnce(&mut Suite), arguments: &str, stop: &AtomicBool) -> Ran {
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let arguments = arguments.split_whitespace();
    let exit = harness::run("cache", add, arguments, &mut out, &mut log, stop);
    Ran {
        exit,
        out: String::from_utf8(out).expect("text"),
        log: String::from_utf8(log).expect("text"),
    }
}
