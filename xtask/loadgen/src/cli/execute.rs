//! Carries out a command: starts what has to be started, sends the load, puts together what was seen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::with_causes;
use super::{Done, Requests, Run, ServerArgs, Subject, again};
#[cfg(any(feature = "cache", feature = "db"))]
use crate::units;
use crate::{
    Load, Mix, MixError, Prepared, RunError, Server, ServerConfig, ServerError, Stop, Summary,
    Target, TargetError, ThresholdError, Watched,
};

/// A run that could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The file of the mix cannot be read.
    #[error("{}: cannot be read", path.display())]
    MixFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The mix cannot be used.
    #[error("{}", path.as_ref().map_or_else(|| "the request cannot be sent".to_owned(), |path| path.display().to_string()))]
    Mix {
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: MixError,
    },
    /// The URL cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A threshold cannot be judged by this run.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// The load cannot be sent.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no temporary file for the server's output.
    #[error("no temporary file for the server's output; name one by --server-log")]
    Log {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The server cannot be measured.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The database cannot be used.
    #[cfg(feature = "db")]
    #[error(transparent)]
    Db(#[from] crate::db::DbError),
    /// The cache cannot be used.
    #[cfg(feature = "cache")]
    #[error(transparent)]
    Cache(#[from] crate::cache::CacheError),
}

type Report<'a> = &'a (dyn Fn(f64) + Sync);

pub(super) fn execute(run: &Run, stop: &Stop, progress: Report<'_>) -> Result<Done, ExecuteError> {
    let (summary, notes) = match &run.subject {
        Subject::Url { url, requests } => {
            (running(run, url, requests, stop, progress)?, Vec::new())
        }
        Subject::Server {
            server,
            path,
            requests,
        } => started(run, server, path, requests, stop, progress)?,
        #[cfg(feature = "db")]
        Subject::Db(config) => {
            known(run, &crate::db::OPERATIONS, false)?;
            direct(
                run,
                "database",
                crate::db::run(config, &run.load, stop, progress)?,
            )
        }
        #[cfg(feature = "cache")]
        Subject::Cache(config) => {
            known(run, &crate::cache::OPERATIONS, false)?;
            direct(
                run,
                "cache",
                crate::cache::run(config, &run.load, stop, progress)?,
            )
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Done {
        checks: run
            .thresholds
            .iter()
            .map(|threshold| threshold.check(&summary))
            .collect(),
        next: again::next(run, &summary, cores),
        notes,
        summary,
    })
}

/// A server that runs already.
fn running(
    run: &Run,
    url: &str,
    requests: &Requests,
    stop: &Stop,
    progress: Report<'_>,
) -> Result<Summary, ExecuteError> {
    let target = Target::parse(url)?;
    let mix = requests.mix(&target.path)?;
    known(run, &mix.routes().collect::<Vec<_>>(), false)?;
    let prepared = requests.prepare(&mix, &target, run.load.timeout)?;
    let outcome = crate::run(&target, &prepared, &run.load, stop, progress)?;
    Ok(Summary::of(&outcome, &requests.described(url), &run.load))
}

/// A server that is started here.
fn started(
    run: &Run,
    args: &ServerArgs,
    path: &str,
    requests: &Requests,
    stop: &Stop,
    progress: Report<'_>,
) -> Result<(Summary, Vec<String>), ExecuteError> {
    let mix = requests.mix(path)?;
    known(run, &mix.routes().collect::<Vec<_>>(), true)?;
    let mut log = Log::new(args.log.as_deref())?;
    let mut server = Server::start(&args.config(log.path()), stop)?;
    let target = Target::at(server.address());
    let prepared = requests.prepare(&mix, &target, run.load.timeout)?;
    let outcome = server.load(&prepared, &run.load, stop, progress)?;
    let cores = match args.cpus.len() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        cores => cores,
    };
    let mut watched = Watched::of(&server, outcome.began, cores);
    let (mut dead, mut notes) = (None, Vec::new());
    if let Some(status) = server.exited() {
        dead = Some(format!(
            "the server ended during the run ({status}); see {}",
            log.keep().display()
        ));
    } else {
        // What was measured until here stays, whatever comes of the end.
        match end(server, &prepared, &run.load, stop) {
            Ok(stopped) => {
                let killed = stopped.status.is_none();
                let note =
                    || format!("SIGTERM did not end the server: killed after {STOP_TIMEOUT:?}");
                notes.extend(killed.then(note));
                watched.stopped = Some(stopped);
            }
            Err(error) => notes.push(format!("no shutdown was measured: {}", with_causes(&error))),
        }
    }
    let target = requests.described(&args.described(path));
    let mut summary = Summary::of(&outcome, &target, &run.load).with_server(&watched);
    summary.invalid.extend(dead);
    Ok((summary, notes))
}

/// What was measured of a crate that is driven without HTTP.
#[cfg(any(feature = "cache", feature = "db"))]
fn direct(run: &Run, what: &str, measured: crate::Measured) -> (Summary, Vec<String>) {
    let summary = Summary::of(&measured.outcome, what, &run.load);
    let cpu = measured.cpu.as_secs_f64() * 1e6 / summary.ended.max(1) as f64;
    let mut notes = vec![format!(
        "{} of CPU per operation, in all of this process",
        units::time(cpu)
    )];
    let waited = |share: f64| {
        let share = units::percent((share * 100.0).round() / 100.0);
        format!("{share} of the time was waiting for a connection of the pool")
    };
    notes.extend(measured.pool_wait.map(waited));
    notes.extend(measured.notes);
    (summary, notes)
}

/// Stops a server, under load unless somebody waits for the end.
fn end(
    server: Server,
    prepared: &Prepared,
    load: &Load,
    stop: &Stop,
) -> Result<crate::Stopped, ServerError> {
    if stop.is_stopped() {
        server.stop()
    } else {
        server.stop_under(prepared, load)
    }
}

/// Refuses thresholds on what this run will not show.
fn known(run: &Run, routes: &[&str], watched: bool) -> Result<(), ThresholdError> {
    run.thresholds
        .iter()
        .try_for_each(|threshold| threshold.validate(routes, watched))
}

impl Requests {
    fn mix(&self, path: &str) -> Result<Mix, ExecuteError> {
        let mix = match &self.mix {
            None => Mix::get(path),
            Some(file) => {
                let unreadable = |source| ExecuteError::MixFile {
                    path: file.clone(),
                    source,
                };
                let text = std::fs::read_to_string(file).map_err(unreadable)?;
                let folder = file.parent().unwrap_or_else(|| Path::new(""));
                Mix::parse(&text, folder).map_err(|source| self.problem(source))?
            }
        };
        let with = |mix: Mix, header: &super::Header| mix.with_header(&header.name, &header.value);
        Ok(self.headers.iter().fold(mix, with))
    }

    fn described(&self, target: &str) -> String {
        match &self.mix {
            Some(mix) => format!("{target} with {}", mix.display()),
            None => target.to_owned(),
        }
    }

    fn prepare(
        &self,
        mix: &Mix,
        target: &Target,
        timeout: Duration,
    ) -> Result<Prepared, ExecuteError> {
        mix.prepare(target, timeout)
            .map_err(|source| self.problem(source))
    }

    fn problem(&self, source: MixError) -> ExecuteError {
        ExecuteError::Mix {
            path: self.mix.clone(),
            source,
        }
    }
}

impl ServerArgs {
    fn described(&self, path: &str) -> String {
        let args: String = self.args.iter().map(|arg| format!(" {arg}")).collect();
        let path = if path == "/" {
            String::new()
        } else {
            format!(", {path}")
        };
        format!("{}{args}{path}", self.program.display())
    }

    fn config(&self, log: &Path) -> ServerConfig {
        let mut env = vec![("PORT".to_owned(), "{port}".to_owned())];
        env.extend(self.env.iter().cloned());
        ServerConfig {
            program: self.program.clone(),
            args: self.args.clone(),
            env,
            inherit_env: self.inherit_env,
            folder: None,
            log: log.to_owned(),
            ready_path: self.ready.clone(),
            ready_timeout: READY_TIMEOUT,
            stop_timeout: STOP_TIMEOUT,
            cpus: self.cpus.clone(),
        }
    }
}

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The file that a server writes to; a temporary one is removed at the end unless it is kept.
enum Log {
    Given(PathBuf),
    Temporary(tempfile::TempPath),
}

impl Log {
    fn new(given: Option<&Path>) -> Result<Self, ExecuteError> {
        if let Some(given) = given {
            return Ok(Self::Given(given.to_owned()));
        }
        let file = tempfile::Builder::new()
            .prefix("loadgen-server-")
            .suffix(".log")
            .tempfile();
        let file = file.map_err(|source| ExecuteError::Log { source })?;
        Ok(Self::Temporary(file.into_temp_path()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(path) => path,
        }
    }

    /// Leaves the file where it is, for somebody to read.
    fn keep(&mut self) -> &Path {
        if let Self::Temporary(path) = self {
            path.disable_cleanup(true);
        }
        self.path()
    }
}
