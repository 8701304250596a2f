//! The four states of a service and the moves between them, apart so that the table is one screen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the service may get traffic.
///
/// ```text
/// Starting ──> Ready ──> Draining
///     ├──────────────────────^  (stopped before it was ready)
///     └──> Failed <── Ready     (a running service may also fail for good)
/// ```
/// `Draining` and `Failed` are final. Any other move, a repeated one included, changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Readiness {
    /// The service is starting: alive, not ready.
    Starting,
    /// The service takes traffic.
    Ready,
    /// The service finishes what it has and takes nothing new. Final.
    Draining,
    /// The start (or the service) has failed. Final.
    Failed,
}

impl Readiness {
    /// Whether a service in this state may move to `next`.
    #[must_use]
    pub fn can_become(self, next: Self) -> bool {
        match self {
            Self::Starting => next != Self::Starting,
            Self::Ready => matches!(next, Self::Draining | Self::Failed),
            Self::Draining | Self::Failed => false,
        }
    }

    /// Whether no further move is possible.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Draining | Self::Failed)
    }

    /// The lower-case word used in JSON and by `Display`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
