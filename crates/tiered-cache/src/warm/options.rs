//! How warming goes about it: how much at once, how fast, for how long, and who watches.

use std::{fmt, sync::Arc, time::Duration};

/// The limits of one warming.
#[derive(Debug, Clone)]
pub struct WarmOptions {
    /// How many loads run at once; at least 1. More finish earlier and press harder on the origin, which
    /// other replicas that start at the same time press too. Default: 8.
    pub concurrency: usize,
    /// How many loads begin in a second; 0 sets no limit. Default: 500.
    pub per_second: u32,
    /// When it stops, with whatever is warm by then. Default: 30 s.
    pub within: Duration,
    /// After so many failures in a row it stops: an origin that is down is not helped by more questions.
    /// 0 never stops. Default: 50.
    pub failures_in_a_row: usize,
    /// Who is told of each key that is done. Default: nobody.
    pub watch: WarmWatch,
}

impl Default for WarmOptions {
    fn default() -> Self {
        Self {
            concurrency: 8,
            per_second: 500,
            within: Duration::from_secs(30),
            failures_in_a_row: 50,
            watch: WarmWatch::default(),
        }
    }
}

impl WarmOptions {
    /// How long it may take, so that its end can be computed.
    pub(crate) fn within(&self) -> Duration {
        self.within.min(WITHIN_MAX)
    }

    /// How long a set may take to name its keys: half, so that there is time to load some.
    pub(crate) fn naming(&self) -> Duration {
        self.within() / 2
    }
}

/// A function that is told how far a warming is, such as to move a progress bar.
#[derive(Clone, Default)]
pub struct WarmWatch(Option<Arc<dyn Fn(WarmProgress) + Send + Sync>>);

impl WarmWatch {
    /// It is called on the task that warms, after each key: it must not block.
    pub fn new(watch: impl Fn(WarmProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    /// The watch for a part of a warming of `total` keys, of which `done` were done before.
    pub(crate) fn after(&self, done: usize, total: usize, failed: usize) -> Self {
        let Some(watch) = self.0.clone() else {
            return Self(None);
        };
        Self::new(move |part: WarmProgress| {
            watch(WarmProgress {
                done: done + part.done,
                total,
                failed: failed + part.failed,
            });
        })
    }

    pub(crate) fn tell(&self, progress: WarmProgress) {
        if let Some(watch) = &self.0 {
            watch(progress);
        }
    }
}

impl fmt::Debug for WarmWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "a function"
        } else {
            "none"
        })
    }
}

/// How far a warming is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmProgress {
    /// Keys that are done, failed ones among them.
    pub done: usize,
    /// All keys.
    pub total: usize,
    /// Keys that failed.
    pub failed: usize,
}

const WITHIN_MAX: Duration = Duration::from_hours(365 * 24);
