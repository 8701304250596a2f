//! The command line of the binary `loadgen`, as a library: other programs offer the same command under their own name.

mod again;
mod args;
mod execute;
mod output;
mod progress;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::{Checked, Load, Stop, Summary, Threshold};

pub use execute::ExecuteError;
pub use output::report;
pub use progress::Progress;

/// What `loadgen --help` prints.
pub const USAGE: &str = include_str!("usage.txt");

/// A command line that was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Print [`USAGE`].
    Help,
    /// Send a load.
    Run(Box<Run>),
}

/// A load to be sent, and what is to be told of it.
#[derive(Clone, Debug)]
pub struct Run {
    pub(crate) subject: Subject,
    pub(crate) load: Load,
    pub(crate) thresholds: Vec<Threshold>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) quiet: bool,
    pub(crate) metrics: bool,
    /// How the program is called.
    pub(crate) program: String,
    /// The options that are not about the model, as somebody would type them again; without secrets.
    pub(crate) again: String,
}

/// What the load is sent to.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Url {
        url: String,
        requests: Requests,
    },
    Server {
        server: ServerArgs,
        path: String,
        requests: Requests,
    },
    #[cfg(feature = "db")]
    Db(crate::db::DbConfig),
    #[cfg(feature = "cache")]
    Cache(crate::cache::CacheConfig),
}

/// Which requests are sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) mix: Option<PathBuf>,
    pub(crate) headers: Vec<Header>,
}

/// A header whose value may be a secret: it is not shown.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug)]
pub(crate) struct ServerArgs {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) inherit_env: bool,
    pub(crate) ready: String,
    pub(crate) log: Option<PathBuf>,
    pub(crate) cpus: Vec<usize>,
}

/// A command line that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct UsageError {
    /// Which option or value, and what is wrong with it.
    pub problem: String,
}

/// A run that is over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Done {
    /// What was measured.
    pub summary: Summary,
    /// Each threshold.
    pub checks: Vec<Checked>,
    /// What a pool or a cache says about itself.
    pub notes: Vec<String>,
    /// The command worth running next.
    pub next: String,
}

impl Done {
    /// Whether every threshold was kept.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// 130 after an interrupt, 3 for an invalid run, 1 if a threshold was not kept, otherwise 0.
    pub fn exit_code(&self) -> u8 {
        if self.summary.interrupted {
            130
        } else if !self.summary.invalid.is_empty() {
            3
        } else {
            u8::from(!self.passed())
        }
    }
}

/// Reads the arguments that follow the name of the program. An API key may come from `LOADGEN_API_KEY` instead, which
/// other users of the machine do not see.
///
/// # Errors
/// Names the option and what is wrong with it.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Command, UsageError> {
    args::parse(args, std::env::var("LOADGEN_API_KEY").ok())
}

/// Sends the load of `run` and judges it; `progress` as in [`run`](crate::run).
///
/// # Errors
/// For what keeps a run from beginning: a mix, a target, a server or a threshold that cannot be used.
pub fn execute(
    run: &Run,
    stop: &Stop,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Done, ExecuteError> {
    execute::execute(run, stop, progress)
}

/// The whole program: reads `args`, sends the load, reports, and returns the exit code: 0 fine, 1 a threshold was not
/// kept, 2 usage or could not start, 3 the run is invalid, 130 interrupted. `program` is how it is called in messages
/// and in the command to run next.
pub fn main(program: &str, args: impl IntoIterator<Item = impl Into<OsString>>, stop: &Stop) -> u8 {
    let mut run = match parse(args) {
        Ok(Command::Help) => return output::help(program),
        Ok(Command::Run(run)) => run,
        Err(error) => return output::complain(program, &error, 2),
    };
    run.call(program);
    let progress = Progress::new(run.quiet);
    let done = execute(&run, stop, &|share| progress.show(share));
    progress.clear();
    match done {
        Ok(done) => report(program, &run, &done),
        Err(_) if stop.is_stopped() => output::complain(program, &Interrupted, 130),
        Err(error) => output::complain(program, &error, 2),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("interrupted before the load began")]
struct Interrupted;

impl Run {
    /// Sets how the program is called in the command to run next; `loadgen` otherwise.
    pub fn call(&mut self, program: &str) {
        program.clone_into(&mut self.program);
    }

    /// The environment of the server that is started, instead of our own; what `--server-env` says comes on top.
    pub fn environment(&mut self, mut env: Vec<(String, String)>) {
        if let Subject::Server { server, .. } = &mut self.subject {
            env.append(&mut server.env);
            (server.env, server.inherit_env) = (env, false);
        }
    }

    /// Whether nobody is to see progress.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }
}

impl Command {
    /// The load to be sent, unless help was asked for.
    pub fn run(self) -> Option<Run> {
        match self {
            Self::Help => None,
            Self::Run(run) => Some(*run),
        }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}
