//! How services begin and end: starts in turns, then stops in the middle of requests.

use std::time::Duration;

use loadgen::{Load, Server, Stopped, Target};

use super::cores::Cores;
use super::figures::Row;
use super::scenario::closed;
use super::subject::{Place, Subject};
use super::{Effort, rounds};
use crate::build::Binaries;
use crate::report::Collector;
use crate::seed::{Resource, Seed};
use crate::session::Session;

pub(super) const NAME: &str = "startup";
const SUBJECTS: [Subject; 4] = [
    Subject::Service,
    Subject::BareAxum,
    Subject::PlainAxum,
    Subject::Naive,
];
/// The names of its two parts in reports.
const START: &str = "start";
const STOP: &str = "stop-16";
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// About how long one start with its stop takes, and one stop under load.
const USUAL_START: Duration = Duration::from_millis(120);
const USUAL_STOP: Duration = Duration::from_millis(800);

/// Measures starts and stops.
///
/// # Errors
/// If somebody cannot be started or has to be killed; what was measured before is kept.
pub(super) fn run(
    session: &Session,
    binaries: &Binaries,
    collector: &mut Collector,
) -> anyhow::Result<()> {
    let effort = Effort::of(session.budget);
    let each = USUAL_START * effort.starts as u32 + USUAL_STOP * effort.stops as u32;
    let phase = session
        .progress
        .phase(NAME, Some(each * SUBJECTS.len() as u32));
    phase.say("making the data");
    let seed = Seed::make(session, binaries)?;
    let cores = Cores::choose(session.pin);
    let places = SUBJECTS.into_iter().map(|subject| seed.copy_for(subject));
    let stage = Stage {
        session,
        binaries,
        places: places.collect::<anyhow::Result<_>>()?,
        cores,
    };
    let row = |number: usize, name| Row {
        suite: NAME,
        name,
        subject: SUBJECTS[number].name(),
    };

    // Once for nothing: the first start reads the programs from the disk.
    let starts = stage.turns(effort.starts + 1, |number, round| {
        phase.say(format!(
            "start {round} of {}: {}",
            effort.starts,
            SUBJECTS[number].name()
        ));
        stage.start_and_stop(number)
    });
    let (starts, ended) = starts;
    for (number, starts) in starts.iter().enumerate() {
        let counted = || starts.iter().skip(1);
        row(number, START).median(
            collector,
            "ready",
            "ms",
            counted().map(|start| start.ready_ms),
        );
        let memory = counted().filter_map(|start| start.rss_bytes);
        row(number, START).median(collector, "rss_start", "bytes", memory);
    }
    ended?;

    let (stops, ended) = stage.turns(effort.stops, |number, round| {
        phase.say(format!(
            "stop {} of {}: {}",
            round + 1,
            effort.stops,
            SUBJECTS[number].name()
        ));
        stage.stop_under_load(number, &seed)
    });
    for (number, stops) in stops.iter().enumerate() {
        let took = stops.iter().map(|stop| stop.took.as_secs_f64() * 1e3);
        row(number, STOP).median(collector, "shutdown", "ms", took);
        let failed = stops.iter().map(|stop| stop.requests_failed as f64);
        row(number, STOP).most(collector, "shutdown_failed", "count", failed);
        if stops
            .iter()
            .any(|stop| !stop.status.is_some_and(|status| status.success()))
        {
            row(number, STOP).note(collector, "did not end well at least once");
        }
    }
    ended
}

/// One start.
#[derive(Clone, Copy, Debug)]
struct Start {
    ready_ms: f64,
    rss_bytes: Option<f64>,
}

/// Where the subjects are started and stopped.
struct Stage<'a> {
    session: &'a Session,
    binaries: &'a Binaries,
    places: Vec<Place>,
    cores: Cores,
}

impl Stage<'_> {
    /// What `turn` gives for each subject in each round, until an error or Ctrl-C, which comes second.
    fn turns<T>(
        &self,
        rounds: usize,
        mut turn: impl FnMut(usize, usize) -> anyhow::Result<T>,
    ) -> (Vec<Vec<T>>, anyhow::Result<()>) {
        let mut all: Vec<Vec<T>> = SUBJECTS.iter().map(|_| Vec::new()).collect();
        let orders = rounds::orders(SUBJECTS.len(), rounds, self.session.seed);
        for (round, order) in orders.into_iter().enumerate() {
            for number in order {
                if self.session.stop.is_stopped() {
                    return (all, Ok(()));
                }
                match turn(number, round) {
                    Ok(value) => all[number].push(value),
                    Err(_) if self.session.stop.is_stopped() => return (all, Ok(())),
                    Err(error) => return (all, Err(error)),
                }
            }
        }
        (all, Ok(()))
    }

    fn start_and_stop(&self, number: usize) -> anyhow::Result<Start> {
        let server = self.start(number)?;
        let start = Start {
            ready_ms: server.ready_after().as_secs_f64() * 1e3,
            rss_bytes: server.usage().ok().map(|usage| usage.rss_bytes as f64),
        };
        server.stop()?;
        Ok(start)
    }

    fn stop_under_load(&self, number: usize, seed: &Seed) -> anyhow::Result<Stopped> {
        let mix = match SUBJECTS[number] {
            Subject::BareAxum => loadgen::Mix::get("/livez"),
            _ => seed.reads(Resource::Tasks)?,
        };
        let server = self.start(number)?;
        let mix = mix.prepare(&Target::at(server.address()), PATIENCE)?;
        let load = Load {
            timeout: PATIENCE,
            cpus: self.cores.generator.clone(),
            ..closed(PATIENCE, self.session.seed)
        };
        Ok(server.stop_under(&mix, &load)?)
    }

    fn start(&self, number: usize) -> anyhow::Result<Server> {
        let mut config = SUBJECTS[number].config(self.binaries, &self.places[number]);
        config.cpus.clone_from(&self.cores.servers);
        Ok(Server::start(&config, &self.session.stop)?)
    }
}
