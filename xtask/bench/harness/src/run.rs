//! A bench program from its arguments to its exit code.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::{Budget, Command, HELP};
use crate::exit::Exit;
use crate::measure::{self, Measured, Plan, Row};
use crate::metric::Metric;
use crate::suite::{Bench, Suite};
use crate::table;

/// Runs the suite called `name` as the arguments of the program ask for. The name is that of the crate under test, and
/// the subject of our figures. `add` adds the benches.
pub fn main(name: &str, add: impl FnOnce(&mut Suite)) -> Exit {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset, so only the second one ends the process at once.
        let handlers =
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)));
        if let Err(error) = handlers {
            eprintln!("signals end this at once, without figures: {error}");
        }
    }
    let arguments = std::env::args().skip(1);
    run(
        name,
        add,
        arguments,
        &mut io::stdout(),
        &mut io::stderr(),
        &stop,
    )
}

/// [`main`] with everything passed in: `METRIC` lines go to `out`, all else to `log`; a set `stop` ends it early.
pub fn run(
    name: &str,
    add: impl FnOnce(&mut Suite),
    arguments: impl IntoIterator<Item = String>,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stop: &AtomicBool,
) -> Exit {
    let mut suite = Suite::new(name);
    add(&mut suite);
    let command = match Command::parse(arguments) {
        Ok(command) => command,
        Err(error) => {
            let _ = writeln!(log, "{name}: {error}; --help lists the options");
            return Exit::Usage;
        }
    };
    let stopped = || stop.load(Ordering::Relaxed);
    match command {
        Command::Help => {
            let _ = write!(out, "{HELP}");
            Exit::Success
        }
        Command::List => list(&suite, out),
        Command::Iterate {
            name,
            subject,
            iterations,
        } => iterate(suite, &name, &subject, iterations, log),
        Command::Measure {
            filters,
            budget,
            seed,
        } => {
            let (sample, warm_up, time) = match budget {
                Budget::Quick => (1, 50, 350),
                Budget::Normal => (2, 100, 900),
                Budget::Full => (2, 200, 2_800),
            };
            let [sample, warm_up, time] = [sample, warm_up, time].map(Duration::from_millis);
            measure(
                suite,
                &filters,
                Plan {
                    sample,
                    warm_up,
                    time,
                    seed,
                },
                false,
                out,
                log,
                &stopped,
            )
        }
        Command::Block {
            filters,
            time,
            seed,
        } => {
            let plan = Plan {
                sample: Duration::from_millis(1),
                warm_up: time / 5,
                time,
                seed,
            };
            measure(suite, &filters, plan, true, out, log, &stopped)
        }
    }
}

fn list(suite: &Suite, out: &mut dyn Write) -> Exit {
    for bench in suite.benches() {
        for subject in bench.subjects() {
            let word = subject.word(suite.name());
            let _ = writeln!(
                out,
                "BENCH {} {} {word} {}: {}",
                suite.name(),
                bench.name(),
                subject.label,
                bench.about_text()
            );
        }
    }
    Exit::Success
}

fn iterate(suite: Suite, name: &str, subject: &str, iterations: u64, log: &mut dyn Write) -> Exit {
    let suite_name = suite.name().to_owned();
    let found = suite
        .into_benches()
        .into_iter()
        .filter(|bench| bench.name() == name)
        .flat_map(Bench::into_subjects)
        .find(|candidate| candidate.word(&suite_name) == subject);
    let Some(found) = found else {
        let _ = writeln!(
            log,
            "{suite_name}: no bench {name} with a subject {subject}; --list lists them"
        );
        return Exit::Usage;
    };
    measure::iterate(found, iterations);
    Exit::Success
}

fn measure(
    suite: Suite,
    filters: &[String],
    plan: Plan,
    ours_only: bool,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stopped: &dyn Fn() -> bool,
) -> Exit {
    let suite_name = suite.name().to_owned();
    let unknown = filters.iter().find(|word| {
        !suite
            .benches()
            .iter()
            .any(|bench| bench.name().contains(word.as_str()))
    });
    if let Some(word) = unknown {
        let names: Vec<_> = suite.benches().iter().map(Bench::name).collect();
        let _ = writeln!(
            log,
            "{suite_name}: no bench has {word:?} in its name; there are {}",
            names.join(", ")
        );
        return Exit::Usage;
    }
    let mut exit = Exit::Success;
    for bench in suite.into_benches() {
        let selected = filters.is_empty()
            || filters
                .iter()
                .any(|word| bench.name().contains(word.as_str()));
        if !selected {
            continue;
        }
        let (name, threads, concurrency) = (
            bench.name().to_owned(),
            bench.thread_counts().to_owned(),
            bench.concurrencies().to_owned(),
        );
        let subjects = bench
            .into_subjects()
            .into_iter()
            .filter(|subject| subject.ours || !ours_only)
            .collect();
        let Measured { rows, failures } =
            measure::measure(&threads, &concurrency, subjects, plan, stopped);
        let _ = write!(log, "{name}\n{}", table::render(&rows));
        for failure in failures {
            let _ = writeln!(log, "  {} panicked: {}", failure.label, failure.panic);
            exit = Exit::Incomplete;
        }
        for metric in rows.iter().flat_map(|row| metrics(&suite_name, &name, row)) {
            if writeln!(out, "{metric}").is_err() {
                return Exit::Success;
            }
        }
        if out.flush().is_err() {
            return Exit::Success;
        }
        if stopped() {
            return Exit::Interrupted;
        }
    }
    exit
}

fn metrics(suite: &str, name: &str, row: &Row) -> Vec<Metric> {
    let metric = |metric: &str, unit: &str, value: f64, low: f64, high: f64, samples: u64| Metric {
        suite: suite.to_owned(),
        name: format!("{name}{}", row.suffix),
        subject: if row.ours {
            suite.to_owned()
        } else {
            row.label.replace(' ', "-")
        },
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        value,
        low,
        high,
        samples,
    };
    let time = row.time;
    let mut metrics = vec![metric(
        "time",
        "ns",
        time.value,
        time.low,
        time.high,
        row.samples as u64,
    )];
    if let Some(allocations) = row.allocations {
        let (count, bytes) = (allocations.count, allocations.bytes);
        metrics.push(metric(
            "allocations",
            "count",
            count,
            count,
            count,
            allocations.operations,
        ));
        metrics.push(metric(
            "allocated",
            "bytes",
            bytes,
            bytes,
            bytes,
            allocations.operations,
        ));
    }
    metrics
}
