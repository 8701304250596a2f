//! What statements tell about themselves: times, slow ones, repeated ones, and what they write.

mod buckets;
mod plan;
mod pool;
mod recorder;
mod sites;
mod slow;
mod slow_log;
mod spans;
mod statements;
mod text;
#[cfg(not(feature = "query-cache"))]
mod unfollowed;
mod usage;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serializer;
use tokio::time::Instant;

pub(crate) use self::buckets::{Buckets, Filled};
pub(crate) use self::plan::capture;
#[cfg(all(feature = "advice", any(feature = "sqlite", feature = "postgres")))]
pub(crate) use self::plan::quietly;
pub(crate) use self::recorder::{Recorder, Returned, Tap, Ticket};
pub use self::sites::CallSite;
pub(crate) use self::sites::Sites;
use self::slow::Slowness;
pub(crate) use self::slow_log::slow_acquire;
pub(crate) use self::spans::Span;
pub use self::statements::StatementStats;
pub(crate) use self::statements::{Statement, Statements};
pub(crate) use self::text::TextHash;
pub use self::usage::{Quantiles, Usage};
use crate::sql::Kind;

/// What the connections of one pool have told, together.
pub(crate) struct Observed {
    pub(crate) statements: Statements,
    pub(crate) sites: Sites,
    opened: Instant,
    /// Slow statements whose plan somebody should ask for.
    wanted: Mutex<VecDeque<Arc<Statement>>>,
    slow_acquires: Slowness,
}

impl Observed {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            statements: Statements::default(),
            sites: Sites::default(),
            opened: now,
            wanted: Mutex::default(),
            slow_acquires: Slowness::default(),
        }
    }

    /// How long the pool had been open at `now`.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    /// Remembers that the plan of a slow statement is wanted; when many are, the newest wait for their next slow run.
    fn want_plan(&self, statement: &Arc<Statement>, now: Duration) {
        if statement.sent.is_none() || !matches!(statement.kind, Kind::Read | Kind::Write) {
            return;
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.len() < MOST_WANTED && statement.slow.ask(now) {
            wanted.push_back(Arc::clone(statement));
        }
    }

    /// Whether to tell of slow borrowing: once a second, as all borrowers suffer together.
    fn tell_slow_acquire(&self) -> bool {
        self.slow_acquires.tell(self.age(Instant::now())).is_some()
    }

    /// The next statement whose plan is wanted.
    pub(crate) fn next_wanted(&self) -> Option<Arc<Statement>> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.pop_front()
    }
}

const MOST_WANTED: usize = 16;

/// Durations of snapshots are serialised as numbers of seconds.
pub(crate) fn seconds<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(value.as_secs_f64())
}
