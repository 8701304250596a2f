//! What a part does when it is started: nothing, or sleep for a given time and write down when.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// What all parts of a run do.
#[derive(Clone)]
pub(crate) enum Body {
    Nothing,
    Sleep(Arc<Sleeps>),
}

/// How long each part sleeps, and when it did.
pub(crate) struct Sleeps {
    durations: Vec<Duration>,
    spans: Vec<OnceLock<[Instant; 2]>>,
}

impl Body {
    /// Runs the part of this number, and returns the number.
    pub(crate) async fn run(&self, part: u32) -> u32 {
        match self {
            Self::Nothing => tick(),
            Self::Sleep(sleeps) => sleeps.sleep(part as usize).await,
        }
        part
    }
}

impl Sleeps {
    pub(crate) fn new(durations: Vec<Duration>) -> Arc<Self> {
        let spans = durations.iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { durations, spans })
    }

    async fn sleep(&self, part: usize) {
        tick();
        let begin = Instant::now();
        tokio::time::sleep(self.durations[part]).await;
        // The first write is the only one: a subject that starts a part twice is found by the number of starts.
        let _ = self.spans[part].set([begin, Instant::now()]);
    }

    /// What the part really took, in seconds.
    pub(crate) fn took(&self, part: usize) -> f64 {
        let span = self.spans[part].get();
        span.map_or(0.0, |[begin, end]| (*end - *begin).as_secs_f64())
    }
}

static COUNTING: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// A part was started. It counts only while it is checked that all of them are, so that what is measured has no memory
/// that all threads write to.
pub(crate) fn tick() {
    if COUNTING.load(Ordering::Relaxed) {
        STARTED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many parts `run` starts.
pub(crate) fn counted(run: impl FnOnce()) -> usize {
    STARTED.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    run();
    COUNTING.store(false, Ordering::Relaxed);
    STARTED.load(Ordering::Relaxed)
}
