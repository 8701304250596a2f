//! From running to stopped in one call: until something is over, or a component in the background fails.

use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::pin::pin;

use crate::error::{GraphError, NodeError, StopError};
use crate::policy::Policy;
use crate::report::StopReport;
use crate::running::Running;

impl Running {
    /// Waits until `end` is over, or until a component in the background fails that is not optional; then shuts down.
    ///
    /// With [`Policy::KeepGoing`] failures end nothing. Dropping the returned future before the stop began, or a
    /// panic of `end`, drops the running graph, which runs no stop hooks; a stop that has begun goes on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> init_graph::Result<()> {
    /// let running = init_graph::Graph::new().start().await?;
    /// let report = running.run_until(async { /* serve */ }).await?;
    /// assert!(report.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RunError::Failed`] after a failure in the background, with how the stop went; [`RunError::Stop`] when only the
    /// stop was not clean.
    pub async fn run_until(self, end: impl Future) -> Result<StopReport, RunError> {
        self.run(end, pending::<()>()).await
    }

    /// As [`run_until`](Self::run_until); a stop that has begun is cut short when `hurry` is over.
    pub(crate) async fn run(
        self,
        end: impl Future,
        hurry: impl Future,
    ) -> Result<StopReport, RunError> {
        let failure = tokio::select! {
            biased;
            failure = self.ending_failure() => Some(failure),
            _ = end => None,
        };
        if let Some(failure) = &failure {
            tracing::error!(%failure, "a component failed in the background; shutting down");
        }
        let cut_short = self.handle().run().life.hurry.clone();
        let mut stop = pin!(self.shutdown());
        let stopped = tokio::select! {
            biased;
            stopped = &mut stop => stopped,
            _ = hurry => {
                cut_short.cancel();
                stop.await
            }
        };
        match (failure, stopped) {
            (Some(failure), stopped) => {
                Err(RunError::Failed(Box::new(RunFailure { failure, stopped })))
            }
            (None, Err(error)) if cut_short.is_cancelled() => Err(RunError::Interrupted(error)),
            (None, stopped) => stopped.map_err(RunError::Stop),
        }
    }

    async fn ending_failure(&self) -> NodeError {
        if self.handle().run().settings.policy == Policy::KeepGoing {
            return pending().await;
        }
        self.failed().await
    }
}

/// Why a run from start to stop did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The graph did not start; after a signal it is [`GraphError::Cancelled`].
    Start(GraphError),
    /// A component failed in the background; the graph was stopped.
    Failed(Box<RunFailure>),
    /// The graph ran well, and the stop was not clean.
    Stop(StopError),
    /// A second signal cut the stop short: what was still stopping was dropped.
    Interrupted(StopError),
    /// Signals cannot be heard here; nothing was started.
    Signals(std::io::Error),
}

/// A failure in the background and what came of it.
#[derive(Debug)]
pub struct RunFailure {
    failure: NodeError,
    stopped: Result<StopReport, StopError>,
}

impl RunFailure {
    /// What failed.
    pub fn failure(&self) -> &NodeError {
        &self.failure
    }

    /// How the stop went that followed.
    pub fn stop(&self) -> &StopReport {
        match &self.stopped {
            Ok(report) => report,
            Err(error) => error.report(),
        }
    }
}

impl RunError {
    /// Whether the start was given up on request and everything was stopped well, so that nothing is wrong.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Start(error) => {
                error.is_cancelled() && error.rollback().is_none_or(StopReport::is_clean)
            }
            _ => false,
        }
    }

    /// Whether the components do not fit together, so that starting again cannot help.
    pub fn is_wiring(&self) -> bool {
        matches!(self, Self::Start(error) if error.is_wiring())
    }

    /// Whether a second signal cut the stop short.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }

    /// How the stop went, where there was one.
    pub fn stop(&self) -> Option<&StopReport> {
        match self {
            Self::Start(error) => error.rollback(),
            Self::Failed(failed) => Some(failed.stop()),
            Self::Stop(error) | Self::Interrupted(error) => Some(error.report()),
            Self::Signals(_) => None,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Failed(failed) => {
                write!(f, "stopped because {}", failed.failure)?;
                match &failed.stopped {
                    Ok(_) => Ok(()),
                    Err(error) => write!(f, " (and the {error})"),
                }
            }
            Self::Stop(error) => error.fmt(f),
            Self::Interrupted(error) => write!(f, "interrupted: {error}"),
            Self::Signals(_) => f.write_str("signals cannot be heard"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start(error) => error.source(),
            Self::Failed(failed) => failed.failure.source(),
            Self::Stop(error) | Self::Interrupted(error) => error.source(),
            Self::Signals(error) => Some(error),
        }
    }
}
