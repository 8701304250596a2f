//! How a stop went, as data and as text for a terminal.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::error::NodeError;
use crate::render::{counted, human, plain};

/// How a stop went.
#[derive(Debug)]
pub struct StopReport {
    pub(crate) stopped: usize,
    pub(crate) failures: Vec<NodeError>,
    pub(crate) abandoned: Vec<Cow<'static, str>>,
    pub(crate) took: Duration,
    /// Of nodes whose stop took time, the longest first.
    pub(crate) times: Vec<(Cow<'static, str>, Duration)>,
}

impl StopReport {
    /// How many nodes were stopped, those with failures included.
    pub fn stopped(&self) -> usize {
        self.stopped
    }

    /// Every stop hook that failed, panicked or ran out of time.
    pub fn failures(&self) -> &[NodeError] {
        &self.failures
    }

    /// The names of components whose code blocked its thread for so long that the stop went on without them.
    pub fn abandoned(&self) -> &[Cow<'static, str>] {
        &self.abandoned
    }

    /// From the begin of the stop to its end.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The names of the nodes whose hooks took any time, with the time of each, the longest first.
    pub fn times(&self) -> impl ExactSizeIterator<Item = (&str, Duration)> {
        self.times.iter().map(|(name, took)| (&**name, *took))
    }

    /// Whether everything stopped without an error.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.abandoned.is_empty()
    }
}

impl fmt::Display for StopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "stopped {} in {}",
            counted(self.stopped, "node"),
            human(self.took)
        )?;
        // One alone is the whole.
        if self.times.len() > 1 {
            let slowest = self.times.iter().take(SLOWEST_SHOWN);
            let slowest = slowest.map(|(name, took)| format!("{} {}", plain(name), human(*took)));
            let slowest = slowest.collect::<Vec<_>>().join(", ");
            write!(f, "; longest: {slowest}")?;
        }
        for failure in &self.failures {
            write!(f, "\n  {}", plain(&failure.to_string()))?;
            if let Some(source) = std::error::Error::source(failure) {
                write!(f, ": {}", plain(&source.to_string()))?;
            }
        }
        for name in &self.abandoned {
            let name = plain(name);
            write!(f, "\n  `{name}` blocked its thread and was abandoned")?;
        }
        Ok(())
    }
}

const SLOWEST_SHOWN: usize = 3;
