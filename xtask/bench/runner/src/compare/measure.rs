//! Measures one block of one side: each chosen scenario on a server started for it, each chosen micro bench in a
//! process of its own. Processes differ from each other although their program is the same, by where their memory lies
//! and how their hashes are seeded: a server that lived through all blocks would turn such luck into a verdict.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::Metric;
use loadgen::{Load, Model, Server, Summary};
use tempfile::TempDir;

use super::blocks::Side;
use crate::build::Binaries;
use crate::child;
use crate::seed::Seed;
use crate::session::Session;
use crate::suites::cores::Cores;
use crate::suites::entrant::Entrant;
use crate::suites::subject::{Place, Subject};
use crate::suites::{self, Scenario, USERS};

const WARM_UP: Duration = Duration::from_millis(300);
const BLOCK: Duration = Duration::from_secs(1);
/// For each micro bench.
const MICRO_BLOCK_MS: u64 = 30;
/// What is compared of all that a run tells: few enough for each to be found worse within a minute or two.
const COMPARED: [&str; 5] = [
    "rate",
    "response_p50",
    "response_p99",
    "cpu_per_request",
    "rss_steady",
];

/// Both sides, ready to be measured.
pub(crate) struct Blocks<'a> {
    session: &'a Session,
    sides: [Prepared; 2],
    services: Vec<String>,
    micro: Vec<String>,
    notes: Vec<String>,
}

struct Prepared {
    /// Copies, made alike: a build meanwhile changes nothing, and how a file came to lie on the disk shows in the
    /// memory of its process.
    binaries: Binaries,
    _copies: TempDir,
    /// The rows that are read, and where its service runs.
    data: Option<(Seed, Place)>,
}

impl<'a> Blocks<'a> {
    /// Makes the data of each side by that side's service.
    ///
    /// # Errors
    /// If a service cannot be run, or nothing of what was chosen can be measured on both sides.
    pub(crate) fn new(
        session: &'a Session,
        binaries: [&Binaries; 2],
        services: &[String],
        micro: &[String],
    ) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let there = |name: &&String| binaries.iter().all(|side| side.micro.join(name).is_file());
        let (there, missing): (Vec<_>, Vec<_>) = micro.iter().partition(there);
        for name in missing {
            notes.push(format!(
                "{name} has micro benches on one side at most, so it is not compared"
            ));
        }
        ensure!(
            !services.is_empty() || !there.is_empty(),
            "nothing to compare: {}",
            notes.join("; ")
        );
        let prepare = |binaries: &Binaries| -> anyhow::Result<Prepared> {
            let data = if services.is_empty() {
                None
            } else {
                let seed = Seed::make(session, binaries)?;
                let place = seed.copy_for(Subject::Service)?;
                Some((seed, place))
            };
            let (binaries, copies) = copies(session, binaries, !services.is_empty(), &there)?;
            Ok(Prepared {
                binaries,
                _copies: copies,
                data,
            })
        };
        Ok(Self {
            session,
            sides: [
                prepare(binaries[0]).context("side A")?,
                prepare(binaries[1]).context("side B")?,
            ],
            services: services.to_vec(),
            micro: there.into_iter().cloned().collect(),
            notes,
        })
    }

    /// What a reader of the figures has to know.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The micro benches that both sides have, as programs.
    pub(crate) fn micro(&self) -> impl Iterator<Item = [PathBuf; 2]> {
        let path = |side: usize, name: &str| self.sides[side].binaries.micro.join(name);
        self.micro
            .iter()
            .map(move |name| [path(0, name), path(1, name)])
    }

    /// One block of one side.
    ///
    /// # Errors
    /// If a server or a micro bench cannot be run or measured.
    pub(crate) fn measure(&mut self, side: Side) -> anyhow::Result<Vec<Metric>> {
        let (index, letter) = match side {
            Side::A => (0, 'A'),
            Side::B => (1, 'B'),
        };
        let prepared = &self.sides[index];
        let mut metrics = Vec::new();
        for suite in &self.services {
            let measured = prepared.suite(self.session, suite, &mut self.notes);
            metrics.extend(measured.with_context(|| format!("{suite} of side {letter}"))?);
        }
        for name in &self.micro {
            let program = prepared.binaries.micro.join(name);
            let measured = micro(self.session, &program);
            metrics.extend(measured.with_context(|| format!("{name} of side {letter}"))?);
        }
        Ok(metrics)
    }
}

impl Prepared {
    fn suite(
        &self,
        session: &Session,
        suite: &str,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Metric>> {
        let (seed, place) = self.data.as_ref().context("a service has its data")?;
        let cores = Cores::choose(session.pin);
        match suites::scenario(suite) {
            Some(scenario) => self.scenario(session, scenario, seed, place, &cores, notes),
            None => self.start(session, suite, place, cores),
        }
    }

    fn scenario(
        &self,
        session: &Session,
        scenario: &Scenario,
        seed: &Seed,
        place: &Place,
        cores: &Cores,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Metric>> {
        let mix = scenario.mix(seed)?;
        let stop = &session.stop;
        let mut service =
            Entrant::start(Subject::Service, &self.binaries, place, &mix, cores, stop)?;
        service.measure(&closed(WARM_UP, session.seed), stop)?;
        // Both sides are asked the same, whichever comes first.
        let summary = service.measure(&closed(BLOCK, session.seed.wrapping_add(1)), stop)?;
        service.stop()?;
        ensure!(
            summary.ended > 0 || summary.interrupted,
            "not one request ended; {} tells more",
            place.log().display()
        );
        for note in doubts(scenario.name, &summary) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        let name = format!("closed-{USERS}");
        let lines = summary.metric_lines(scenario.name, &name, Subject::Service.name());
        let metrics: Result<Vec<Metric>, _> = lines.iter().map(|line| line.parse()).collect();
        let mut metrics = metrics?;
        metrics.retain(|metric| COMPARED.contains(&metric.metric.as_str()));
        Ok(metrics)
    }

    /// The suite in which starting is all.
    fn start(
        &self,
        session: &Session,
        suite: &str,
        place: &Place,
        cores: Cores,
    ) -> anyhow::Result<Vec<Metric>> {
        let mut config = Subject::Service.config(&self.binaries, place);
        config.cpus = cores.servers;
        let server = Server::start(&config, &session.stop)?;
        let ready = server.ready_after().as_secs_f64() * 1e3;
        let rss = server.usage()?.rss_bytes as f64;
        server.stop()?;
        let metric = |metric: &str, unit: &str, value: f64| Metric {
            suite: suite.to_owned(),
            name: "cold".to_owned(),
            subject: Subject::Service.name().to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            value,
            low: value,
            high: value,
            samples: 1,
        };
        Ok(vec![
            metric("ready", "ms", ready),
            metric("rss_start", "bytes", rss),
        ])
    }
}

/// The programs that are measured, in a folder of their own.
fn copies(
    session: &Session,
    of: &Binaries,
    service: bool,
    micro: &[&String],
) -> anyhow::Result<(Binaries, TempDir)> {
    let parent = session.target.join("bench/tmp");
    let folder = fs::create_dir_all(&parent).and_then(|()| {
        tempfile::Builder::new()
            .prefix("programs-")
            .tempdir_in(&parent)
    });
    let folder = folder.with_context(|| format!("{}: cannot make a folder", parent.display()))?;
    let copies = Binaries {
        service: folder.path().join("service"),
        peers: of.peers.clone(),
        micro: folder.path().to_owned(),
    };
    let micro = micro
        .iter()
        .map(|name| (of.micro.join(name), copies.micro.join(name)));
    let service = service.then(|| (of.service.clone(), copies.service.clone()));
    for (from, to) in service.into_iter().chain(micro) {
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok((copies, folder))
}

fn closed(duration: Duration, seed: u64) -> Load {
    Load {
        model: Model::Closed { users: USERS },
        duration,
        warmup: Duration::ZERO,
        connections: USERS,
        seed,
        ..Load::default()
    }
}

/// What makes figures of a block say less than they seem to.
fn doubts(suite: &str, summary: &Summary) -> Vec<String> {
    let mut doubts = Vec::new();
    if summary.success < 1.0 && !summary.interrupted {
        doubts.push(format!(
            "{suite}: some requests failed; only those that ended well count as rate"
        ));
    }
    if summary.capped_by == loadgen::Cap::Generator {
        doubts.push(format!(
            "{suite}: the generator was at its limit, so that the rate says little; CPU time per request decides"
        ));
    }
    doubts
}

fn micro(session: &Session, program: &Path) -> anyhow::Result<Vec<Metric>> {
    let mut lines = Vec::new();
    let mut command = Command::new(program);
    command
        .args(["--block", &MICRO_BLOCK_MS.to_string()])
        .env_clear()
        .envs(child::environment())
        .stderr(Stdio::null());
    let status = child::run(&mut command, &session.stop, |line| {
        if Metric::is_one(line) {
            lines.push(line.to_owned());
        }
    })?;
    ensure!(
        status.success() || session.stop.is_stopped(),
        "{} ended with {status}; run it by hand to see why",
        program.display()
    );
    let metrics: Result<Vec<Metric>, _> = lines.iter().map(|line| line.parse()).collect();
    Ok(metrics?)
}
