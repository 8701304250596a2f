//! Health checks that the service registers, apart because they run the service's own code.

use std::{fmt, panic, panic::AssertUnwindSafe, sync::Arc};

use crate::{CheckSnapshot, CheckStatus};

/// What a health check answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Pass,
    /// Something is wrong, but traffic can be served; `/readyz` stays 200.
    Warn(String),
    /// Traffic cannot be served; `/readyz` answers 503.
    Fail(String),
}

impl Health {
    fn into_snapshot(self) -> CheckSnapshot {
        let (status, detail) = match self {
            Self::Pass => (CheckStatus::Pass, None),
            Self::Warn(detail) => (CheckStatus::Warn, Some(detail)),
            Self::Fail(detail) => (CheckStatus::Fail, Some(detail)),
        };
        CheckSnapshot { status, detail }
    }
}

type Probe = dyn Fn() -> Health + Send + Sync;

/// A registered check.
#[derive(Clone)]
pub(crate) struct Check {
    pub(crate) name: Arc<str>,
    probe: Arc<Probe>,
}

impl Check {
    pub(crate) fn new(name: &str, probe: impl Fn() -> Health + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            probe: Arc::new(probe),
        }
    }

    /// Asks the check; a check that panics has failed.
    pub(crate) fn ask(&self) -> CheckSnapshot {
        panic::catch_unwind(AssertUnwindSafe(|| (self.probe)()))
            .unwrap_or_else(|_| Health::Fail("the check panicked".to_owned()))
            .into_snapshot()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
