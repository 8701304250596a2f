//! What can be said of a graph as a whole, with the defaults.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::class::Class;
use crate::policy::Policy;

pub(crate) struct Settings {
    pub(crate) policy: Policy,
    /// Of the whole start.
    pub(crate) timeout: Option<Duration>,
    /// How long initialisers of a start that is given up may take to end by themselves.
    pub(crate) cancel_grace: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) cancel_on: Vec<CancellationToken>,
    /// Of classes; the later of two for one class counts.
    pub(crate) limits: Vec<(Class, usize)>,
    /// Of all components together.
    pub(crate) concurrency: Option<usize>,
    /// So many restarts within so long.
    pub(crate) restart_budget: (u32, Duration),
    /// How often the log says what a start waits for; zero for never.
    pub(crate) waiting_every: Duration,
    pub(crate) history: Option<PathBuf>,
    /// Cuts a stop short.
    pub(crate) hurry: CancellationToken,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            timeout: None,
            cancel_grace: Duration::ZERO,
            stop_timeout: Duration::from_secs(30),
            cancel_on: Vec::new(),
            limits: Vec::new(),
            concurrency: None,
            restart_budget: (5, Duration::from_secs(60)),
            waiting_every: Duration::from_secs(5),
            history: None,
            hurry: CancellationToken::new(),
        }
    }
}

impl Settings {
    /// How many components of `class` may initialise at once; `None` for any number.
    pub(crate) fn limit(&self, class: &Class) -> Option<usize> {
        let given = self.limits.iter().rfind(|(limited, _)| limited == class);
        match given {
            Some((_, limit)) => Some(*limit),
            None if *class == Class::CPU => {
                Some(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
            }
            None if *class == Class::BLOCKING => Some(BLOCKING_MAX),
            None => None,
        }
    }
}

/// Far fewer than the 512 threads that tokio keeps for blocking work, which others need as well.
const BLOCKING_MAX: usize = 64;
