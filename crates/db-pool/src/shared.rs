//! What every part of one pool shares: counters, its state, the generation, and the list of open connections.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::PoolConfig;
use crate::health::Probe;
use crate::metrics::Metrics;
use crate::observe::Observed;
use crate::registry::{Holder, Registry};
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
    pub(crate) registry: Registry,
    /// A copy of what `lending` says, as it is read for each borrower.
    closed_or_suspended: AtomicU8,
    lending: watch::Sender<Lending>,
    #[cfg(all(feature = "advice", feature = "postgres"))]
    pub(crate) advice: crate::advice::Memory,
    pub(crate) health: Probe,
    generation: AtomicU64,
    started: Instant,
    /// Microseconds after `started`; 0 for never.
    suspected: AtomicU64,
    #[cfg(feature = "postgres")]
    pub(crate) alarm: Alarm,
    refreshed: AtomicU64,
    /// Wakes the housekeeper before its time.
    pub(crate) chores: Notify,
    /// Whether somebody waits for all borrowed connections.
    draining: AtomicBool,
    pub(crate) returned: Notify,
    open: watch::Sender<usize>,
}

/// Whether connections are lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lending {
    Open,
    Suspended,
    Closed,
}

/// Numbers for `Status`; each is exact, together they may be a moment apart.
#[derive(Default)]
pub(crate) struct Counters {
    /// The most connections that were seen in use, looking once a second.
    pub(crate) in_use_peak: AtomicUsize,
    /// Callers in the queue.
    pub(crate) waiting: AtomicUsize,
    pub(crate) acquired: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) discarded: AtomicU64,
    pub(crate) leaks: AtomicU64,
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
            registry: Registry::default(),
            closed_or_suspended: AtomicU8::new(0),
            lending: watch::Sender::new(Lending::Open),
            #[cfg(all(feature = "advice", feature = "postgres"))]
            advice: crate::advice::Memory::default(),
            health: Probe::new(),
            generation: AtomicU64::new(0),
            started: Instant::now(),
            suspected: AtomicU64::new(0),
            #[cfg(feature = "postgres")]
            alarm: Alarm::default(),
            refreshed: AtomicU64::new(0),
            chores: Notify::new(),
            draining: AtomicBool::new(false),
            returned: Notify::new(),
            open: watch::Sender::new(0),
        }
    }

    // === whether connections are lent ===

    pub(crate) fn is_lending(&self) -> bool {
        self.closed_or_suspended.load(Ordering::Acquire) == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed_or_suspended.load(Ordering::Acquire) & CLOSED != 0
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.closed_or_suspended.load(Ordering::Acquire) == SUSPENDED
    }

    pub(crate) fn set_closed(&self) {
        self.closed_or_suspended.fetch_or(CLOSED, Ordering::AcqRel);
        self.tell_lending();
        self.chores.notify_one();
    }

    pub(crate) fn set_suspended(&self, suspended: bool) {
        if suspended {
            self.closed_or_suspended
                .fetch_or(SUSPENDED, Ordering::AcqRel);
        } else {
            self.closed_or_suspended
                .fetch_and(!SUSPENDED, Ordering::AcqRel);
        }
        self.tell_lending();
        // What was put off meanwhile is due.
        self.chores.notify_one();
    }

    fn tell_lending(&self) {
        self.lending.send_modify(|lending| {
            *lending = match self.closed_or_suspended.load(Ordering::Acquire) {
                0 => Lending::Open,
                SUSPENDED => Lending::Suspended,
                _ => Lending::Closed,
            };
        });
    }

    /// Returns when the pool is not suspended: open or closed.
    pub(crate) async fn resumed(&self) {
        let mut lending = self.lending.subscribe();
        // The sender lives in `self`, so waiting can only end by the state.
        let _ = lending.wait_for(|now| *now != Lending::Suspended).await;
    }

    /// Returns when the pool is closed.
    pub(crate) async fn closed(&self) {
        let mut lending = self.lending.subscribe();
        let _ = lending.wait_for(|now| *now == Lending::Closed).await;
    }

    /// Returns when the pool is closed or gone; does not keep it alive.
    pub(crate) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut lending = self.lending.subscribe();
        async move {
            // An error means that the sender is gone, and the pool with it.
            let _ = lending.wait_for(|now| *now == Lending::Closed).await;
        }
    }

    // === what is known of connections as a whole ===

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every open connection stale: it is replaced before it is lent again.
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.chores.notify_one();
    }

    /// A connection was lost, so others may be: each is asked for a sign of life before it is lent, unless it was
    /// used since.
    pub(crate) fn suspect(&self) {
        self.suspected.fetch_max(self.micros(), Ordering::AcqRel);
        #[cfg(feature = "postgres")]
        self.alarm.raise();
    }

    /// Whether a connection whose last sign of life was at `alive` is under suspicion.
    pub(crate) fn is_suspect(&self, alive: Instant) -> bool {
        self.is_before(alive, &self.suspected)
    }

    /// Has every open connection replaced, one by one and before it closes.
    pub(crate) fn refresh(&self) {
        self.refreshed.fetch_max(self.micros(), Ordering::AcqRel);
        self.chores.notify_one();
    }

    /// Whether a connection opened at `born` is to be replaced.
    pub(crate) fn is_unrefreshed(&self, born: Instant) -> bool {
        self.is_before(born, &self.refreshed)
    }

    fn micros(&self) -> u64 {
        (self.started.elapsed().as_micros() as u64).max(1)
    }

    fn is_before(&self, moment: Instant, mark: &AtomicU64) -> bool {
        let mark = mark.load(Ordering::Acquire);
        mark != 0 && moment.duration_since(self.started).as_micros() as u64 <= mark
    }

    // === counting ===

    /// Counts a connection as open until the token is dropped, which is when its file or socket is closed.
    pub(crate) fn open_token(self: &Arc<Self>) -> OpenToken {
        self.open.send_modify(|count| *count += 1);
        OpenToken(Arc::clone(self))
    }

    /// Returns when no connection is open any more.
    pub(crate) async fn all_closed(&self) {
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|count| *count == 0).await;
    }

    pub(crate) fn open_count(&self) -> usize {
        *self.open.borrow()
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::SeqCst);
    }

    /// A connection is no longer held.
    pub(crate) fn tell_returned(&self) {
        if self.draining.load(Ordering::SeqCst) {
            self.returned.notify_waiters();
        }
    }

    /// Tells of connections that are held suspiciously long, each once.
    pub(crate) fn tell_leaks(&self, now: Instant) {
        let Some(limit) = self.config.leak_after else {
            return;
        };
        for Holder {
            connection,
            held,
            at,
            ..
        } in self.registry.leaks(now, limit)
        {
            self.counters.leaks.fetch_add(1, Ordering::Relaxed);
            self.metrics.leaks.increment(1);
            tracing::warn!(pool = %self.config.name, connection, ?held, %at, "a connection is held for long; is it leaked?");
        }
    }

    /// Brings gauges up to date and hands over what was counted; called once a second and for each `Status`.
    pub(crate) fn publish(&self, connecting: usize, max: u32) {
        let (size, in_use, recovering) = self.registry.counts();
        let peak = &self.counters.in_use_peak;
        peak.fetch_max(in_use, Ordering::Relaxed);
        let metrics = &self.metrics;
        metrics.idle.set(size.saturating_sub(in_use) as f64);
        metrics.in_use.set(in_use as f64);
        metrics.recovering.set(recovering as f64);
        metrics.connecting.set(connecting as f64);
        metrics.max_connections.set(f64::from(max));
        let waiting = self.counters.waiting.load(Ordering::Relaxed);
        metrics.waiters.set(waiting as f64);
        metrics.flush();
    }
}

const SUSPENDED: u8 = 1;
const CLOSED: u8 = 2;

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
