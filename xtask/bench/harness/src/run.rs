//! A bench program from its arguments to its exit code.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bench::Bench;
use crate::cli::{Budget, Command, HELP};
use crate::cores::Cores;
use crate::exit::Exit;
use crate::figures::{self, Effort, Set};
use crate::measure::{self, Measured, Plan};
use crate::metric::Metric;
use crate::prepared::Row;
use crate::suite::{Suite, SuiteError};
use crate::table;

/// Runs a bench program: does what its arguments ask for with the benches that `add` adds.
///
/// `name` is the name of the crate under test; in `METRIC` lines it is the suite and also the subject that is ours.
pub fn main(name: &str, add: impl FnOnce(&mut Suite)) -> Exit {
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = on_signals(&stop) {
        eprintln!("{name}: Ctrl-C will end this without its last figures: {error}");
    }
    let arguments = std::env::args_os().skip(1);
    run(
        name,
        add,
        arguments,
        &mut io::stdout(),
        &mut io::stderr(),
        &stop,
    )
}

/// [`main`] with everything passed in, for tests: `METRIC` lines go to `out`, all else to `log`, and a set `stop` ends it
/// after the sample under way.
pub fn run(
    name: &str,
    add: impl FnOnce(&mut Suite),
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString>>,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stop: &AtomicBool,
) -> Exit {
    let mut suite = Suite::new(name);
    add(&mut suite);
    let stopped = || stop.load(Ordering::Relaxed);
    let ended = Command::parse(arguments)
        .map_err(|error| Ended::Usage(format!("{error}; --help lists the options")))
        .and_then(|command| {
            suite.check()?;
            perform(command, suite, out, log, &stopped)
        });
    match ended {
        Ok(exit) => exit,
        Err(Ended::Usage(problem)) => {
            let _ = writeln!(log, "{name}: {problem}");
            Exit::Usage
        }
        // Whoever read the figures has enough of them: `bench | head` is no failure.
        Err(Ended::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(Ended::Output(error)) => {
            let _ = writeln!(log, "{name}: cannot write figures: {error}");
            Exit::Incomplete
        }
    }
}

/// Why it ends before everything is done.
enum Ended {
    Usage(String),
    Output(io::Error),
}

impl From<SuiteError> for Ended {
    fn from(error: SuiteError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn on_signals(stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the first signal finds the flag unset, so only the second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(stop))?;
        signal_hook::flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

fn perform(
    command: Command,
    suite: Suite,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stopped: &dyn Fn() -> bool,
) -> Result<Exit, Ended> {
    let cores = Cores::keep_to_one();
    match command {
        Command::Help => out.write_all(HELP.as_bytes())?,
        Command::List { filters } => list(suite, &filters, out)?,
        Command::Iterate {
            name,
            subject,
            iterations,
        } => measure::iterate(suite.only(&name, &subject)?, iterations, &cores),
        Command::Measure {
            filters,
            budget,
            seed,
        } => {
            let plan = plan(budget, seed);
            let name = suite.name().to_owned();
            let (benches, figures) = suite.select(&filters)?;
            let timed = !benches.is_empty();
            let mut exit = measure_all(&name, benches, plan, &cores, out, log, stopped)?;
            if timed && !stopped() {
                let empty = table::time(measure::overhead(plan.sample));
                let _ = writeln!(log, "{empty} of each time is the loop around an operation");
            }
            let effort = effort(budget);
            let wanted = |set: &Set| set.least <= effort || filters.contains(&set.name);
            for set in figures.into_iter().filter(wanted) {
                if stopped() {
                    return Ok(Exit::Interrupted);
                }
                let taken = take(set, &name, effort, &cores, out, log, stopped)?;
                exit = if taken == Exit::Success { exit } else { taken };
            }
            return Ok(exit);
        }
        Command::Block {
            filters,
            time,
            seed,
        } => {
            let plan = block(time, seed);
            let name = suite.name().to_owned();
            let (mut benches, _) = suite.select(&filters)?;
            for bench in &mut benches {
                bench.subjects.retain(|subject| subject.ours);
            }
            return measure_all(&name, benches, plan, &cores, out, log, stopped);
        }
    }
    Ok(Exit::Success)
}

fn plan(budget: Budget, seed: u64) -> Plan {
    let (sample, warm_up, time) = match budget {
        Budget::Smoke => (0, 0, 0),
        Budget::Quick => (1, 50, 350),
        Budget::Normal => (2, 100, 900),
        Budget::Full => (2, 200, 2_800),
    };
    Plan {
        sample: Duration::from_millis(sample),
        warm_up: Duration::from_millis(warm_up),
        time: Duration::from_millis(time),
        seed,
    }
}

fn effort(budget: Budget) -> Effort {
    match budget {
        Budget::Smoke => Effort::Smoke,
        Budget::Quick => Effort::Quick,
        Budget::Normal => Effort::Normal,
        Budget::Full => Effort::Full,
    }
}

/// A fifth of a block warms up: the process is new for each.
fn block(time: Duration, seed: u64) -> Plan {
    Plan {
        sample: Duration::from_millis(1),
        warm_up: time / 5,
        time: time * 4 / 5,
        seed,
    }
}

fn list(suite: Suite, filters: &[String], out: &mut dyn Write) -> Result<(), Ended> {
    let suite_name = suite.name().to_owned();
    let (benches, figures) = suite.select(filters)?;
    for bench in benches {
        let (name, about) = (&bench.name, &bench.about);
        for subject in &bench.subjects {
            let word = subject.word(&suite_name);
            // The word of a peer is its label; ours is said with what it is about.
            let label = if subject.ours {
                format!("{}: ", subject.label)
            } else {
                String::new()
            };
            writeln!(out, "BENCH {suite_name} {name} {word} {label}{about}")?;
        }
    }
    for set in figures {
        writeln!(out, "FIGURES {suite_name} {} {}", set.name, set.about)?;
    }
    Ok(out.flush()?)
}

/// Takes one set of figures and prints them.
fn take(
    set: Set,
    suite: &str,
    effort: Effort,
    cores: &Cores,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stopped: &dyn Fn() -> bool,
) -> Result<Exit, Ended> {
    let name = set.name.clone();
    let _ = writeln!(log, "{name}: {}", set.about);
    let (metrics, remarks, ended) = figures::take(set, suite, effort, cores, stopped);
    let _ = write!(log, "{}", figures::render(&metrics));
    for line in remarks.iter().flat_map(|remark| remark.lines()) {
        let _ = writeln!(log, "    {line}");
    }
    for metric in metrics {
        writeln!(out, "{metric}")?;
    }
    out.flush()?;
    Ok(match ended {
        Err(panic) => {
            let _ = writeln!(
                log,
                "    the rest of {name} is left out, it panicked: {panic}"
            );
            Exit::Incomplete
        }
        Ok(()) if stopped() => Exit::Interrupted,
        Ok(()) => Exit::Success,
    })
}

fn measure_all(
    suite: &str,
    benches: Vec<Bench>,
    plan: Plan,
    cores: &Cores,
    out: &mut dyn Write,
    log: &mut dyn Write,
    stopped: &dyn Fn() -> bool,
) -> Result<Exit, Ended> {
    let mut exit = Exit::Success;
    for bench in benches {
        let name = bench.name.clone();
        // Before it is measured: what a bench prints later tells what it waits for now.
        let _ = writeln!(log, "{name}: {}", bench.about);
        let measured = measure::measure(bench, plan, cores, stopped);
        let Measured {
            rows,
            failures,
            left_out,
        } = measured;
        let _ = write!(log, "{}", table::render(&rows));
        for reason in left_out {
            let _ = writeln!(log, "    {reason}");
        }
        for failure in failures {
            let _ = writeln!(
                log,
                "    {} is left out, it panicked: {}",
                failure.label, failure.panic
            );
            exit = Exit::Incomplete;
        }
        for metric in rows.iter().flat_map(|row| metrics(suite, &name, row)) {
            writeln!(out, "{metric}")?;
        }
        out.flush()?;
        if stopped() {
            let _ = writeln!(
                log,
                "{suite}: interrupted; what was measured until then is printed"
            );
            return Ok(Exit::Interrupted);
        }
    }
    Ok(exit)
}

fn metrics(suite: &str, name: &str, row: &Row) -> Vec<Metric> {
    let subject = if row.ours { suite } else { &row.label };
    let metric = |metric: &str, unit: &str, [value, low, high]: [f64; 3], samples| Metric {
        suite: suite.to_owned(),
        name: format!("{name}{}", row.suffix()),
        subject: subject.replace(' ', "-"),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        value,
        low,
        high,
        samples,
    };
    let time = [row.time.value, row.time.low, row.time.high];
    let mut metrics = vec![metric("time", "ns", time, row.samples)];
    if let Some(allocations) = row.allocations {
        let (count, bytes) = ([allocations.count; 3], [allocations.bytes; 3]);
        metrics.push(metric(
            "allocations",
            "count",
            count,
            allocations.operations,
        ));
        metrics.push(metric("allocated", "bytes", bytes, allocations.operations));
    }
    metrics
}
