//! The scope of one request: its deadline, what it has written so far, and the statements it has sent.

#[cfg(feature = "tower")]
mod layer;
mod log;
mod report;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

#[cfg(feature = "tower")]
pub use self::layer::{ScopeLayer, ScopeService};
pub(crate) use self::log::Finding;
use self::log::Log;
pub use self::report::{ScopeReport, ScopeStatement};
use crate::lsn::Lsn;

tokio::task_local! {
    static CURRENT: Scope;
}

/// What belongs to one request; a cheap clone of a shared handle.
///
/// Inside [`run`](Self::run) every pool knows the request: borrowing ends at its deadline, a replica must have seen
/// its writes, and its statements are counted together: what it repeats is told in a log event and a metric, once per
/// statement, and in full by [`report`](Self::report). That costs a microsecond or two for each statement.
#[derive(Clone)]
pub struct Scope(Arc<Inner>);

struct Inner {
    deadline: Option<Instant>,
    written: AtomicU64,
    #[cfg(feature = "postgres")]
    unplaced: crate::replicas::Unplaced,
    /// Open transactions that have written.
    #[cfg(feature = "query-cache")]
    writing: std::sync::atomic::AtomicUsize,
    log: Log,
}

impl Scope {
    /// A scope without a deadline.
    pub fn new() -> Self {
        Self::with_deadline(None)
    }

    /// A scope that ends at `deadline`, if there is one: nobody waits for a connection any longer than that.
    pub fn with_deadline(deadline: Option<Instant>) -> Self {
        Self(Arc::new(Inner {
            deadline,
            written: AtomicU64::new(0),
            #[cfg(feature = "postgres")]
            unplaced: crate::replicas::Unplaced::default(),
            #[cfg(feature = "query-cache")]
            writing: std::sync::atomic::AtomicUsize::new(0),
            log: Log::default(),
        }))
    }

    /// Runs `future` inside this scope.
    ///
    /// Tasks that `future` spawns are outside; give them a clone. Dropping the returned future drops `future`.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// The scope that the caller runs in.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// What `look` makes of the scope that the caller runs in, without a clone.
    pub(crate) fn with_current<R>(look: impl FnOnce(&Self) -> R) -> Option<R> {
        CURRENT.try_with(look).ok()
    }

    /// What the request has asked of its databases so far: statements that were answered, those that it repeats, and
    /// how long they took. Begin and end of transactions are left out, and so is what it asked outside of
    /// [`run`](Self::run), in tasks of its own.
    pub fn report(&self) -> ScopeReport {
        self.0.log.report()
    }

    /// For tests: panics with the [`report`](Self::report) if a statement ran five times or more with different
    /// values, one run after another.
    ///
    /// Where fewer or more repetitions are right, look at [`ScopeReport::by_statement`] instead.
    #[track_caller]
    pub fn assert_no_n_plus_one(&self) {
        let report = self.report();
        assert!(report.n_plus_ones.is_empty(), "{report}");
    }

    /// For tests: panics with the [`report`](Self::report) if more than `most` statements ran.
    #[track_caller]
    pub fn assert_statements_at_most(&self, most: u64) {
        let report = self.report();
        assert!(report.statements <= most, "more than {most}: {report}");
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    /// When the request ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Where its last commit lies in the log of the primary; reads of this request see at least that.
    pub fn written(&self) -> Option<Lsn> {
        match self.0.written.load(Ordering::Acquire) {
            0 => None,
            bytes => Some(Lsn::new(bytes)),
        }
    }

    /// Its writes whose place in the log is not known.
    #[cfg(feature = "postgres")]
    pub(crate) fn unplaced(&self) -> &crate::replicas::Unplaced {
        &self.0.unplaced
    }

    /// Remembers a commit whose place in the log is not known, and which at `over` will have taken effect if it ever
    /// does: until that is past and the primary was asked, reads of this request need the primary.
    #[cfg(feature = "postgres")]
    pub(crate) fn wrote_somewhere(&self, over: Instant) {
        self.0.unplaced.committed(over);
    }

    /// No other database here has such a log.
    #[cfg(not(feature = "postgres"))]
    pub(crate) fn wrote_somewhere(&self, _over: Instant) {}

    /// Remembers a commit; also one of an earlier request, handed on by the client.
    pub fn wrote(&self, at: Lsn) {
        self.0.written.fetch_max(at.bytes(), Ordering::AcqRel);
    }
}

#[cfg(feature = "query-cache")]
impl Scope {
    pub(crate) fn begin_writing(&self) {
        self.0.writing.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end_writing(&self) {
        self.0.writing.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a transaction is open that has written: what it wrote is in no cached result.
    pub(crate) fn is_writing(&self) -> bool {
        self.0.writing.load(Ordering::Acquire) > 0
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("deadline", &self.deadline())
            .field("written", &self.written())
            .finish()
    }
}
