//! What every part of one pool shares: counters, the closed flag, the generation, and the count of open connections.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::config::PoolConfig;
use crate::metrics::Metrics;

pub(crate) struct Shared {
    pub(crate) config: PoolConfig,
    pub(crate) metrics: Metrics,
    /// Guards may be dropped on a thread that is no worker of the runtime; repairs are spawned here.
    pub(crate) runtime: Handle,
    pub(crate) counters: Counters,
    closed: AtomicBool,
    generation: AtomicU64,
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
        Self {
            config,
            metrics,
            runtime,
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            generation: AtomicU64::new(0),
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
    #[cfg(feature = "migrations")]
    pub(crate) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a connection as open until the token is dropped, which is when its file or socket is closed.
    pub(crate) fn open_token(&self) -> OpenToken {
        self.open.send_modify(|count| *count += 1);
        OpenToken(self.open.clone())
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

/// Proof that a connection's file or socket may still be open.
#[expect(
    unnameable_types,
    reason = "part of the sealed supertrait of `Backend`"
)]
#[derive(Debug)]
pub struct OpenToken(watch::Sender<usize>);

impl Drop for OpenToken {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
