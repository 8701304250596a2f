//! What can go wrong: errors of wiring, of one node, of a whole start and of a stop.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::Node;
use crate::render::{counted, plain};
use crate::report::{Report, StopReport};
use crate::wiring_error::WiringErrors;

/// Any error that an initialiser or a stop hook may return.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// The result of an initialiser; `?` turns every error into a [`BoxError`].
pub type Result<T, E = BoxError> = std::result::Result<T, E>;

/// Why a graph did not start.
///
/// `Debug` is the text of `Display` with the causes of each component, since that is what `unwrap` and a `main` that
/// returns it print.
#[non_exhaustive]
pub enum GraphError {
    /// The components do not fit together; nothing ran.
    Wiring(WiringErrors),
    /// A component that is not optional failed; everything that had started was stopped again.
    Failed(StartError),
    /// A token given to [`Graph::cancel_on`](crate::Graph::cancel_on) was cancelled, or the future of
    /// [`Graph::start`](crate::Graph::start) was dropped; everything that had started was stopped again.
    Cancelled {
        /// How far the start came.
        report: Report,
        /// How the rollback went; `None` while it is still to come.
        rollback: Option<Box<StopReport>>,
    },
    /// There is no tokio runtime with a time driver to start on, or it was shut down meanwhile.
    NoRuntime,
}

impl GraphError {
    /// Whether the components do not fit together, so that starting again cannot help.
    pub fn is_wiring(&self) -> bool {
        matches!(self, Self::Wiring(_))
    }

    /// Whether the start was given up on request, so that nothing is wrong.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    /// The components that failed by themselves; empty for the other kinds of error.
    pub fn failures(&self) -> &[NodeError] {
        match self {
            Self::Failed(error) => error.failures(),
            _ => &[],
        }
    }

    /// How far the start came before it was given up, node by node and as a picture; `None` when nothing ran. It was made
    /// before anything was stopped.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Failed(error) => Some(error.report()),
            Self::Cancelled { report, .. } => Some(report),
            _ => None,
        }
    }

    /// How the stop of what had started went; `None` when nothing ran, and in
    /// [`Event::StartFailed`](crate::Event::StartFailed), which comes before the rollback.
    pub fn rollback(&self) -> Option<&StopReport> {
        match self {
            Self::Failed(error) => error.rollback.as_deref(),
            Self::Cancelled { rollback, .. } => rollback.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn set_rollback(&mut self, report: StopReport) {
        match self {
            Self::Failed(error) => error.rollback = Some(Box::new(report)),
            Self::Cancelled { rollback, .. } => *rollback = Some(Box::new(report)),
            _ => {}
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wiring(errors) => errors.fmt(f),
            Self::Failed(error) => error.fmt(f),
            Self::Cancelled { .. } => f.write_str("the start was cancelled"),
            Self::NoRuntime => f.write_str(
                "no tokio runtime: call `Graph::start` inside one with time enabled, and keep it alive meanwhile",
            ),
        }
    }
}

impl fmt::Debug for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        write_causes(f, self.failures())
    }
}

impl Error for GraphError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => error.source(),
            _ => None,
        }
    }
}

/// A line for each component that says why: its error and what that came from.
fn write_causes(f: &mut fmt::Formatter<'_>, failures: &[NodeError]) -> fmt::Result {
    for failure in failures {
        let mut next = failure.source();
        if next.is_some() {
            write!(f, "\n  `{}`", plain(failure.node().name()))?;
        }
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
    }
    Ok(())
}

/// The components whose own failure ended a start; what was only cancelled because of them is left out.
#[derive(Debug)]
pub struct StartError {
    failures: Vec<NodeError>,
    report: Report,
    rollback: Option<Box<StopReport>>,
}

impl StartError {
    pub(crate) fn new(failures: Vec<NodeError>, report: Report) -> Self {
        Self {
            failures,
            report,
            rollback: None,
        }
    }

    /// At least one; several when components failed at the same time.
    pub fn failures(&self) -> &[NodeError] {
        &self.failures
    }

    /// As [`GraphError::report`].
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("start failed: ")?;
        for (position, failure) in self.failures.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            failure.fmt(f)?;
        }
        let unclean = self
            .rollback
            .as_ref()
            .map_or(0, |rollback| rollback.failures().len());
        if unclean > 0 {
            write!(
                f,
                " (and {} while stopping what had started)",
                counted(unclean, "error")
            )?;
        }
        Ok(())
    }
}

impl Error for StartError {
    /// The source of the first failure.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failures.first().and_then(Error::source)
    }
}

/// One component that failed to start or to stop.
#[derive(Clone, Debug)]
pub struct NodeError {
    pub(crate) node: Node,
    pub(crate) took: Duration,
    pub(crate) attempts: u32,
    /// Shared with those who wanted the component.
    pub(crate) cause: Arc<Cause>,
}

impl NodeError {
    /// The component.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How long its initialiser, or its stop hooks, had been running.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// How many attempts its initialiser had; 0 for a failure of stop hooks.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// In what way it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.node.added_at();
        let name = self.node.name();
        match &*self.cause {
            Cause::Failed(_) => write!(f, "`{name}` failed")?,
            cause => write!(f, "`{name}` {cause}")?,
        }
        if self.attempts > 1 {
            write!(f, " at attempt {}", self.attempts)?;
        }
        write!(f, " (added at {}:{})", at.file(), at.line())
    }
}

impl Error for NodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.cause {
            Cause::Failed(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// In what way a component failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It returned this error.
    Failed(BoxError),
    /// It panicked with this message.
    Panicked(String),
    /// It did not end within this time and was dropped.
    TimedOut(Duration),
    /// It said nothing for this time and was dropped.
    Stalled(Duration),
    /// The start as a whole took longer than this.
    Deadline(Duration),
    /// It was still stopping when the stop was cut short, and was dropped.
    Interrupted,
}

impl Cause {
    /// What observers are shown: the component's own error where there is one.
    pub(crate) fn as_error(&self) -> &(dyn Error + 'static) {
        match self {
            Self::Failed(error) => error.as_ref(),
            other => other,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("returned an error"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::TimedOut(limit) => write!(f, "did not end within {limit:?}"),
            Self::Stalled(limit) => write!(f, "made no progress for {limit:?}"),
            Self::Interrupted => f.write_str("was still stopping when the stop was cut short"),
            Self::Deadline(limit) => write!(f, "was not ready when the start had taken {limit:?}"),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// A shutdown in which at least one stop hook failed; the others ran all the same.
///
/// `Debug` is the text of `Display` with the causes of each component.
pub struct StopError {
    report: StopReport,
}

impl StopError {
    pub(crate) fn new(report: StopReport) -> Self {
        Self { report }
    }

    /// What stopped well and what did not.
    pub fn report(&self) -> &StopReport {
        &self.report
    }
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stop was not clean: ")?;
        let failures = self.report.failures().iter().map(ToString::to_string);
        let abandoned = self
            .report
            .abandoned()
            .iter()
            .map(|name| format!("`{name}` was abandoned"));
        f.write_str(&failures.chain(abandoned).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Debug for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        write_causes(f, self.report.failures())
    }
}

impl Error for StopError {
    /// The source of the first failure.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.report.failures().first().and_then(Error::source)
    }
}
