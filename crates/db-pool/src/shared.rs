//! What every part of one pool shares: counters, the closed flag, the generation, and the count of open connections.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::PoolConfig;
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::transaction::Transactions;

pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) metrics: Metrics,
    pub(crate) observed: Observed,
    /// Guards may be dropped on a thread that is no worker of the runtime; repairs are spawned here.
    pub(crate) runtime: Handle,
    pub(crate) counters: Counters,
    #[cfg(feature = "query-cache")]
    pub(crate) ledger: Arc<crate::cache::Ledger>,
    pub(crate) transactions: Transactions,
    closed: AtomicBool,
    generation: AtomicU64,
    started: Instant,
    /// Microseconds after `started`; 0 for never.
    suspected: AtomicU64,
    #[cfg(feature = "postgres")]
    pub(crate) alarm: Alarm,
    open: watch::Sender<usize>,
}

/// Numbers for `Status`; each is exact, together they may be a moment apart.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) size: AtomicUsize,
    pub(crate) in_use: AtomicUsize,
    pub(crate) recovering: AtomicUsize,
    pub(crate) waiting: AtomicUsize,
    pub(crate) acquired: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) discarded: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: PoolConfig, runtime: Handle) -> Self {
        let metrics = Metrics::new(&config.name);
        #[cfg(feature = "query-cache")]
        let ledger = crate::cache::Ledger::new(&config);
        let transactions = Transactions::new(&config.name);
        Self {
            config,
            metrics,
            observed: Observed::new(Instant::now()),
            runtime,
            counters: Counters::default(),
            #[cfg(feature = "query-cache")]
            ledger,
            transactions,
            closed: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            started: Instant::now(),
            suspected: AtomicU64::new(0),
            #[cfg(feature = "postgres")]
            alarm: Alarm::default(),
            open: watch::Sender::new(0),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every open connection stale: it is replaced before it is lent again.
    #[cfg_attr(
        not(any(feature = "migrations", feature = "postgres")),
        expect(dead_code, reason = "SQLite notices by itself that a plan is stale")
    )]
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection was lost, so others may be: each is asked for a sign of life before it is lent, unless it was
    /// used since.
    pub(crate) fn suspect(&self) {
        let now = self.started.elapsed().as_micros() as u64;
        self.suspected.fetch_max(now.max(1), Ordering::AcqRel);
        #[cfg(feature = "postgres")]
        self.alarm.raise();
    }

    /// Whether a connection whose last sign of life was at `alive` is under suspicion.
    pub(crate) fn is_suspect(&self, alive: Instant) -> bool {
        let since = self.suspected.load(Ordering::Acquire);
        since != 0 && alive.duration_since(self.started).as_micros() as u64 <= since
    }

    /// Counts a connection as open until the token is dropped, which is when its file or socket is closed.
    pub(crate) fn open_token(self: &Arc<Self>) -> OpenToken {
        self.open.send_modify(|count| *count += 1);
        OpenToken(Arc::clone(self))
    }

    /// Returns when no connection is open any more.
    pub(crate) async fn all_closed(&self) {
        let mut open = self.open.subscribe();
        // The sender lives in `self`, so waiting can only end by the count.
        let _ = open.wait_for(|count| *count == 0).await;
    }

    pub(crate) fn open_count(&self) -> usize {
        *self.open.borrow()
    }

    /// Brings the gauges up to date after `size` or `in_use` changed.
    pub(crate) fn publish(&self) {
        let size = self.counters.size.load(Ordering::Relaxed);
        let in_use = self.counters.in_use.load(Ordering::Relaxed);
        self.metrics.idle.set(size.saturating_sub(in_use) as f64);
        self.metrics.in_use.set(in_use as f64);
    }
}

/// Somebody outside the pool who wants to know when the life or the role of the server is in doubt.
#[cfg(feature = "postgres")]
#[derive(Default)]
pub(crate) struct Alarm(OnceLock<Box<dyn Fn() + Send + Sync>>);

#[cfg(feature = "postgres")]
impl Alarm {
    /// The first one stays.
    pub(crate) fn set(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(tell));
    }

    pub(crate) fn raise(&self) {
        if let Some(tell) = self.0.get() {
            tell();
        }
    }
}

/// Proof that a connection's file or socket may still be open, and the connection's line to its pool.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
pub struct OpenToken(Arc<Shared>);

#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "SQLite connections do not get lost")
)]
impl OpenToken {
    /// Call when a connection is lost, or the server says something that concerns all of them.
    pub(crate) fn suspect(&self) {
        self.0.suspect();
    }

    /// Call when every open connection has to be replaced: the schema or the role of the server has changed.
    pub(crate) fn outdated(&self) {
        self.0.next_generation();
    }
}

impl fmt::Debug for OpenToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenToken").finish_non_exhaustive()
    }
}

impl Drop for OpenToken {
    fn drop(&mut self) {
        let open = &self.0.open;
        open.send_modify(|count| *count = count.saturating_sub(1));
    }
}
