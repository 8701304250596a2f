//! Services that run side by side and take turns under the same load: first as many requests as they can, then all at
//! one rate that each of them should sustain.

use std::time::Duration;

use loadgen::{Arrivals, Load, Mix, Model, Summary};

use super::Effort;
use super::answers;
use super::cores::Cores;
use super::entrant::Entrant;
use super::figures::Row;
use super::rounds;
use super::subject::Subject;
use crate::build::Binaries;
use crate::progress::Phase;
use crate::report::{Collector, fell_behind};
use crate::seed::{Resource, Seed};
use crate::session::Session;

/// What everybody is asked for, and who is asked.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// As it is called on the command line.
    pub(crate) name: &'static str,
    /// The rows that are read; `/livez` without.
    pub(crate) reads: Option<Resource>,
    /// Who takes part; ours first.
    pub(crate) subjects: &'static [Subject],
}

/// Users of the closed model: enough to keep a core busy, few enough not to queue for long.
pub(crate) const USERS: usize = 16;
/// The names of the two loads in reports.
const CLOSED: &str = "closed-16";
const OPEN: &str = "open-50";
/// How long each subject is asked before anything counts: all caches are warm then.
const WARM_UP: Duration = Duration::from_millis(500);
/// Connections of the open model; requests wait only if all of them do.
const CONNECTIONS: usize = 64;
/// About how long it takes to make the data and to start and stop everybody.
const PREPARING: Duration = Duration::from_secs(3);
/// How many answers are compared before measuring.
const COMPARED: usize = 20;

impl Scenario {
    /// Measures it.
    ///
    /// # Errors
    /// If somebody cannot be started or ends meanwhile, or the answers differ; what was measured before is kept.
    pub(crate) fn run(
        &self,
        session: &Session,
        binaries: &Binaries,
        collector: &mut Collector,
    ) -> anyhow::Result<()> {
        let effort = Effort::of(session.budget);
        let phase = session.progress.phase(self.name, Some(self.time(effort)));
        phase.say("making the data");
        let seed = Seed::make(session, binaries)?;
        let mix = self.mix(&seed)?;
        let cores = Cores::choose(session.pin);
        let mut entrants = Vec::new();
        for &subject in self.subjects {
            phase.say(format!("starting {}", subject.name()));
            let place = seed.copy_for(subject)?;
            entrants.push(Entrant::start(
                subject,
                binaries,
                &place,
                &mix,
                &cores,
                &session.stop,
            )?);
        }
        answers::compare(&entrants, &self.paths(&seed)?)?;
        let mut turns = Turns {
            session,
            phase: &phase,
            entrants,
        };
        self.measure(&mut turns, effort, collector)?;
        turns.entrants.into_iter().try_for_each(Entrant::stop)
    }

    /// The requests of this scenario.
    ///
    /// # Errors
    /// If the data that it names is not there.
    pub(crate) fn mix(&self, seed: &Seed) -> anyhow::Result<Mix> {
        match self.reads {
            Some(resource) => seed.reads(resource),
            None => Ok(Mix::get("/livez")),
        }
    }

    fn paths(&self, seed: &Seed) -> anyhow::Result<Vec<String>> {
        match self.reads {
            Some(resource) => seed.paths(resource, COMPARED),
            None => Ok(vec!["/livez".to_owned()]),
        }
    }

    fn measure(
        &self,
        turns: &mut Turns<'_>,
        effort: Effort,
        collector: &mut Collector,
    ) -> anyhow::Result<()> {
        turns.warm_up()?;
        let row = |subject: Subject, name| Row {
            suite: self.name,
            name,
            subject: subject.name(),
        };
        let length = Duration::from_secs_f64(effort.closed_s);
        let (all, ended) = turns.rounds(CLOSED, effort.rounds, |seed| closed(length, seed));
        for (&subject, rounds) in self.subjects.iter().zip(&all) {
            row(subject, CLOSED).closed(rounds, collector);
        }
        ended?;
        let most: Vec<_> = all.iter().map(|rounds| sustained(rounds)).collect();
        let fit = self
            .subjects
            .iter()
            .zip(&most)
            .filter(|(subject, _)| **subject != Subject::Naive);
        let Some(rate) = rounds::open_rate(fit.filter_map(|(_, most)| *most)) else {
            return Ok(());
        };
        if turns.session.stop.is_stopped() {
            return Ok(());
        }
        collector.note(format!(
            "{} {OPEN}: everybody is asked {rate} times a second",
            self.name
        ));
        let length = Duration::from_secs_f64(effort.open_s);
        let (all, ended) = turns.rounds(OPEN, effort.rounds, |seed| open(rate, length, seed));
        for ((&subject, rounds), most) in self.subjects.iter().zip(&all).zip(most) {
            row(subject, OPEN).open(rounds, most, collector);
        }
        ended
    }

    /// About how long it takes.
    fn time(&self, effort: Effort) -> Duration {
        let each = effort.rounds as f64 * (effort.closed_s + effort.open_s);
        (Duration::from_secs_f64(each) + WARM_UP) * self.subjects.len() as u32 + PREPARING
    }
}

/// The rate that closed rounds reached.
fn sustained(closed: &[Summary]) -> Option<f64> {
    let kept = rounds::keep(closed).rounds;
    Some(rounds::middle(&kept, |round| round.rate)?.rate)
}

/// As many requests as `USERS` get answered.
pub(crate) fn closed(length: Duration, seed: u64) -> Load {
    Load {
        model: Model::Closed { users: USERS },
        duration: length,
        connections: USERS,
        seed,
        ..Load::default()
    }
}

/// Requests at random moments, as from many clients, whatever becomes of the answers.
fn open(rate: f64, length: Duration, seed: u64) -> Load {
    Load {
        model: Model::Open(Arrivals::Poisson { rate }),
        duration: length,
        connections: CONNECTIONS,
        seed,
        ..Load::default()
    }
}

/// The subjects of a scenario, taking turns.
struct Turns<'a> {
    session: &'a Session,
    phase: &'a Phase,
    entrants: Vec<Entrant>,
}

impl Turns<'_> {
    fn warm_up(&mut self) -> anyhow::Result<()> {
        let load = closed(WARM_UP, self.session.seed);
        for entrant in &mut self.entrants {
            self.phase
                .say(format!("warming up {}", entrant.subject().name()));
            entrant.measure(&load, &self.session.stop)?;
        }
        Ok(())
    }

    /// The rounds of each entrant, until an error or Ctrl-C. In one round everybody gets the same requests.
    fn rounds(
        &mut self,
        name: &str,
        rounds: usize,
        load: impl Fn(u64) -> Load,
    ) -> (Vec<Vec<Summary>>, anyhow::Result<()>) {
        let stop = &self.session.stop;
        let mut all: Vec<Vec<Summary>> = self.entrants.iter().map(|_| Vec::new()).collect();
        let orders = rounds::orders(self.entrants.len(), rounds, self.session.seed);
        for (round, order) in orders.into_iter().enumerate() {
            let load = load(self.session.seed.wrapping_add(round as u64));
            for number in order {
                if stop.is_stopped() {
                    return (all, Ok(()));
                }
                // Who fell behind twice always does, and its queue would only cost everybody time.
                if all[number]
                    .iter()
                    .filter(|round| fell_behind(round))
                    .count()
                    >= 2
                {
                    continue;
                }
                let entrant = &mut self.entrants[number];
                let subject = entrant.subject().name();
                self.phase
                    .say(format!("{name} {} of {rounds}: {subject}", round + 1));
                match entrant.measure(&load, stop) {
                    Ok(summary) => all[number].push(summary),
                    Err(error) => return (all, Err(error)),
                }
            }
        }
        (all, Ok(()))
    }
}
