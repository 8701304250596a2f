//! How a restart went, and why one did not happen or did not succeed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::failure::Failure;
use crate::render::{counted, human};
use crate::report::StopReport;

/// How a restart went.
#[derive(Debug)]
#[non_exhaustive]
pub struct RestartReport {
    pub(super) nodes: Vec<String>,
    pub(super) failures: Vec<Failure>,
    pub(super) stop: StopReport,
    pub(super) took: Duration,
}

impl RestartReport {
    /// What was stopped and started again, in start order: the component itself and what depends on it.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// What failed to start again without harm: optional components, those that start on demand, and with
    /// [`Policy::KeepGoing`](crate::Policy::KeepGoing) any.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// How the stop went; a stop hook that failed does not hold up the restart.
    pub fn stop(&self) -> &StopReport {
        &self.stop
    }

    /// From the begin of the restart, waiting for others excluded, to its end.
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for RestartReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = counted(self.nodes.len(), "node");
        write!(f, "restarted {count} in {}", human(self.took))?;
        for name in &self.nodes {
            let failure = self.failures.iter().find(|failure| failure.name() == name);
            match failure {
                None => write!(f, "\n  {name}")?,
                Some(failure) => write!(f, "\n  {name}: {}", WithSource(failure))?,
            }
        }
        if !self.stop.is_clean() {
            write!(f, "\n{}", self.stop)?;
        }
        Ok(())
    }
}

/// Why a part of a running graph was not restarted, or is not there again.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestartError {
    /// No component has this name, or none provides this type as the sole or chosen one.
    Unknown {
        /// The name or the type.
        wanted: String,
    },
    /// A value was made before the graph and cannot be made again.
    Value {
        /// The name of the value.
        name: String,
    },
    /// The component starts on demand, and nobody has asked for it yet.
    NotStarted {
        /// The name of the component.
        name: String,
    },
    /// A part of what would be restarted is still starting.
    Starting {
        /// The names of what is not settled.
        names: Vec<String>,
    },
    /// There were as many restarts as [`Graph::restart_budget`](crate::Graph::restart_budget) allows.
    BudgetSpent {
        /// How many are allowed.
        restarts: u32,
        /// Within how long.
        window: Duration,
        /// The time until the next one is allowed; `None` when none ever is.
        retry_in: Option<Duration>,
    },
    /// The part was stopped, and did not start again; what of it had started was stopped again.
    Failed {
        /// The components that failed by themselves.
        failures: Vec<Failure>,
        /// The names of what was there before and is not any more, in start order.
        gone: Vec<String>,
    },
    /// The graph is stopping or has stopped.
    Stopping,
}

impl RestartError {
    /// Whether there were too many restarts, so that trying again later helps.
    pub fn is_budget_spent(&self) -> bool {
        matches!(self, Self::BudgetSpent { .. })
    }

    /// Whether the graph stops, so that nothing is wrong.
    pub fn is_stopping(&self) -> bool {
        matches!(self, Self::Stopping)
    }

    /// The names of what is not there any more; empty for every error but [`Failed`](Self::Failed), which leave things
    /// as they were.
    pub fn gone(&self) -> &[String] {
        match self {
            Self::Failed { gone, .. } => gone,
            _ => &[],
        }
    }
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { wanted } => write!(
                f,
                "no component is or provides `{wanted}` unambiguously; restart it by its name as in the plan"
            ),
            Self::Value { name } => write!(
                f,
                "`{name}` is a value, which cannot be made again; add a function that makes it"
            ),
            Self::NotStarted { name } => {
                write!(f, "`{name}` has not started: nobody has asked for it")
            }
            Self::Starting { names } => write!(
                f,
                "{} still starting; wait for `Running::settled`",
                names.join(", ")
            ),
            Self::BudgetSpent {
                restarts,
                window,
                retry_in,
            } => {
                write!(f, "{restarts} restarts within {window:?} are allowed")?;
                match retry_in {
                    Some(wait) => write!(
                        f,
                        "; try again in {wait:?}, or raise `Graph::restart_budget`"
                    ),
                    None => f.write_str("; raise `Graph::restart_budget`"),
                }
            }
            Self::Failed { failures, gone } => {
                f.write_str("restart failed: ")?;
                let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
                f.write_str(&failures.join("; "))?;
                write!(
                    f,
                    "; gone: {}; restart again when the cause is away",
                    gone.join(", ")
                )
            }
            Self::Stopping => f.write_str("the graph is stopping"),
        }
    }
}

impl Error for RestartError {
    /// The source of the first failure.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { failures, .. } => failures.first().and_then(Error::source),
            _ => None,
        }
    }
}

struct WithSource<'a>(&'a Failure);

impl fmt::Display for WithSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        match self.0.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}
