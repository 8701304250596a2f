//! The pool: a cheap handle that lends connections, runs transactions, reports and closes.

use std::fmt;
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Role};
use crate::config::{MAX_DURATION, PoolConfig};
use crate::error::{AcquireError, ConfigError, ConnectError, ConnectErrorKind, OpenError};
use crate::guard::{Checkout, Connection};
use crate::housekeeper;
use crate::lane::{Lane, Lanes, Learned};
use crate::manager::Manager;
use crate::observe::{self, Usage};
use crate::shared::Shared;
use crate::slots::Slots;
use crate::status::Status;

/// A pool of connections to one database; a cheap clone of a shared handle.
///
/// Dropping the last clone closes idle connections; [`Pool::close`] also waits for borrowed ones.
pub struct Pool<B: Backend> {
    inner: Arc<Inner<B>>,
}

pub(crate) struct Inner<B: Backend> {
    shared: Arc<Shared>,
    main: Slots<B>,
    /// SQLite's readers; `None` where reads share the other connections.
    readers: Option<Slots<B>>,
    /// `None` where reads borrow a connection each.
    lanes: Option<Arc<Lanes<B>>>,
    learned: Arc<Learned>,
}

impl<B: Backend> Inner<B> {
    pub(crate) fn shared_handle(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What is due once a second.
    pub(crate) fn upkeep(self: &Arc<Self>, now: Instant) {
        for slots in self.sets() {
            slots.upkeep(now);
        }
        self.shared.tell_leaks(now);
        self.publish();
        self.explain_slow();
    }

    /// Has the plan of the next slow statement that waits for it asked for, one at a time.
    fn explain_slow(self: &Arc<Self>) {
        let Some(statement) = self.shared.observed.next_wanted() else {
            return;
        };
        let inner = Arc::clone(self);
        // Ends within the time-outs of getting a connection and of `observe::capture`.
        self.shared.runtime.spawn(async move {
            let slots = inner.readers.as_ref().unwrap_or(&inner.main);
            if let Ok(mut spare) = slots.spare().await {
                observe::capture::<B>(&inner.shared, spare.connection_mut(), &statement).await;
            }
        });
    }

    fn publish(&self) {
        let connecting = self.sets().map(|slots| slots.connecting() as usize).sum();
        let max = self.sets().map(Slots::size).sum();
        self.shared.publish(connecting, max);
    }

    fn sets(&self) -> impl Iterator<Item = &Slots<B>> {
        self.readers.iter().chain([&self.main])
    }
}

/// Ends what the pool runs in the background; borrowed connections close when they come back.
impl<B: Backend> Drop for Inner<B> {
    fn drop(&mut self) {
        self.shared.set_closed();
        // A borrower keeps its set alive, and would keep the idle ones of it open.
        self.sets().for_each(Slots::close);
    }
}

impl<B: Backend> Pool<B> {
    /// Checks the configuration and opens the first connection, so that a wrong password or a missing folder shows
    /// here and at once.
    ///
    /// Needs a running Tokio runtime with time (and, for PostgreSQL, I/O) enabled. Spawns a task that looks after the
    /// connections once a second and ends with the pool.
    ///
    /// # Errors
    /// [`OpenError::Config`] for a setting that cannot work, [`OpenError::Connect`] if the first connection fails.
    pub async fn connect(config: PoolConfig) -> Result<Self, OpenError> {
        let kind = config.validate()?;
        if kind != B::KIND {
            let problem = "names another database than this pool is made for";
            return Err(ConfigError::new("url", config.shown_url(), problem).into());
        }
        let connector = Arc::new(B::connector(&config)?);
        let (max_size, min_idle) = (config.max_size, config.min_idle);
        let reading = config.reading_size(kind);
        let runtime = Handle::try_current().map_err(|error| {
            let (kind, target) = (ConnectErrorKind::Other, config.shown_url());
            ConnectError::with(kind, target, None, None, Box::new(error))
        })?;
        let shared = Arc::new(Shared::new(config, runtime));
        let slots = |role, size, min_idle| {
            Slots::new(&connector, role, size, min_idle, Arc::clone(&shared))
        };
        // The writer opens first: it creates a SQLite file and switches it to WAL before any reader looks.
        let main_idle = if B::SEPARATE_READERS { 0 } else { min_idle };
        let main_size = if B::SEPARATE_READERS { 1 } else { max_size };
        let main = slots(Role::Writer, main_size, main_idle);
        main.open_first().await?;
        let readers = B::SEPARATE_READERS.then(|| slots(Role::Reader, reading, min_idle));
        let learned = Arc::<Learned>::default();
        let lines_max = shared.config.lanes_at_most();
        let lanes = (B::LANES && lines_max > 0).then(|| {
            let manager = Manager {
                connector,
                role: Role::Lane,
                shared: Arc::clone(&shared),
            };
            Lanes::new(manager, main.clone(), lines_max, Arc::clone(&learned))
        });
        let inner = Arc::new(Inner {
            shared: Arc::clone(&shared),
            main,
            readers,
            lanes,
            learned,
        });
        // Opens what `min_idle` asks for.
        inner.upkeep(Instant::now());
        shared
            .runtime
            .spawn(housekeeper::run(Arc::downgrade(&inner)));
        tracing::debug!(pool = %shared.config.name, backend = %kind, max_size, "pool opened");
        Ok(Self { inner })
    }

    /// Borrows a connection that may write; on SQLite there is exactly one.
    ///
    /// Waits in the order of asking, at most `acquire_timeout` and not beyond the deadline of the current
    /// [`Scope`](crate::Scope); where the wait is bound to outlast that, it is not begun. Dropping the future leaves
    /// the queue. The place of the call is remembered, and shown by [`Pool::status`] and errors for as long as the
    /// connection is held.
    ///
    /// # Errors
    /// See [`AcquireError`]. While nothing is open, a connection that cannot be opened for a permanent reason is
    /// reported as soon as that is known; after other failures the pool tries again until the time is up.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<Connection<B>, AcquireError>> + Send + use<'_, B> {
        let at = Location::caller();
        async move { self.inner.main.acquire_from(at, None).await.map(Connection) }
    }

    /// As [`Pool::acquire`], within `limit` instead of `acquire_timeout`.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    #[track_caller]
    pub fn acquire_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<Connection<B>, AcquireError>> + Send + use<'_, B> {
        let at = Location::caller();
        let limit = limit.min(MAX_DURATION);
        async move {
            let checkout = self.inner.main.acquire_from(at, Some(limit)).await?;
            Ok(Connection(checkout))
        }
    }

    /// Gives a lane for single reading statements: on PostgreSQL a place on a connection that many share, on SQLite
    /// one of the readers, which never wait for the writer.
    ///
    /// Waits in the order of asking, at most `acquire_timeout`, for a place among `lane_depth` on each of `lanes`
    /// connections. The first read opens the first of them. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = Result<Lane<B>, AcquireError>> + Send + use<'_, B> {
        let at = Location::caller();
        async move {
            if let Some(lanes) = &self.inner.lanes {
                return lanes.read().await.map(Lane::shared);
            }
            let learned = B::LANES.then(|| Arc::clone(&self.inner.learned));
            let checkout = self.reading().acquire_from(at, None).await?;
            Ok(Lane::alone(checkout, learned))
        }
    }

    /// Asks the database for a sign of life and returns how long the answer took.
    ///
    /// Never queues behind users: where all connections are lent it has one of its own, opened on demand, which comes
    /// on top of `max_size` for up to a minute. Takes at most `connect_timeout` and twice `validation_timeout`.
    ///
    /// # Errors
    /// [`AcquireError::Closed`], [`AcquireError::ConnectFailed`] and [`AcquireError::PingFailed`].
    #[track_caller]
    pub fn ping(&self) -> impl Future<Output = Result<Duration, AcquireError>> + Send + use<'_, B> {
        let spare = self.reading().spare();
        async move {
            let mut spare = spare.await?;
            let started = Instant::now();
            let limit = self.inner.shared.config.validation_timeout;
            match timeout(limit, B::ping(spare.connection_mut())).await {
                Ok(Ok(())) => Ok(started.elapsed()),
                Ok(Err(error)) => Err(AcquireError::PingFailed {
                    source: Some(error),
                }),
                Err(_) => Err(AcquireError::PingFailed { source: None }),
            }
        }
    }

    /// The state of the pool now. Brings the gauges up to date as well.
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let shared = &inner.shared;
        inner.publish();
        let counters = &shared.counters;
        let (size, in_use, recovering) = shared.registry.counts();
        let waiting = counters.waiting.load(Relaxed);
        let wanting = inner.sets().map(Slots::wanting).sum::<usize>();
        let failed = inner.sets().find_map(Slots::last_connect_error);
        Status {
            name: shared.config.name.clone(),
            backend: Status::kind(B::KIND),
            max_size: inner.sets().map(Slots::size).sum(),
            size,
            idle: size.saturating_sub(in_use),
            in_use,
            recovering,
            connecting: inner.sets().map(|slots| slots.connecting() as usize).sum(),
            waiting: waiting + wanting,
            acquired_total: counters.acquired.load(Relaxed),
            timeouts_total: counters.timeouts.load(Relaxed),
            connects_total: counters.connects.load(Relaxed),
            connect_failures_total: counters.connect_failures.load(Relaxed),
            recovered_total: counters.recovered.load(Relaxed),
            discarded_total: counters.discarded.load(Relaxed),
            leaks_total: counters.leaks.load(Relaxed),
            last_connect_error: failed.map(|error| error.to_string()),
            holders: shared.registry.holders(None, Instant::now(), SHOWN_HOLDERS),
            usage: Usage::of(shared),
            suspended: shared.is_suspended(),
            closed: shared.is_closed(),
        }
    }

    // === control ===

    /// Lends nothing until [`resume`](Self::resume): callers wait in their order, each until its own time is up, and
    /// then get [`AcquireError::Suspended`]. Borrowed connections stay borrowed. Until then none is opened, replaced or
    /// asked for a sign of life either, except for lanes.
    ///
    /// For moments in which the database should be left alone, such as a planned failover. [`Pool::ping`] still works.
    pub fn suspend(&self) {
        self.inner.shared.set_suspended(true);
    }

    /// Lends again; who waits longest is served first.
    pub fn resume(&self) {
        self.inner.shared.set_suspended(false);
    }

    /// Changes the most connections there may be; on SQLite the readers change and the writer stays.
    ///
    /// Growing serves waiters at once. Shrinking closes idle connections at once and borrowed ones as they come back.
    /// [`Pool::config`] keeps the size that the pool was opened with.
    ///
    /// # Errors
    /// [`ConfigError`] on field `max_size` for a size that [`PoolConfig::validate`] refuses beside the other settings;
    /// nothing has changed then.
    pub fn resize(&self, max_size: u32) -> Result<(), ConfigError> {
        let mut config = self.config().clone();
        (config.max_size, config.readers) = (max_size, None);
        config.validate()?;
        match &self.inner.readers {
            Some(readers) => readers.resize(max_size - 1),
            None => self.inner.main.resize(max_size),
        }
        Ok(())
    }

    /// Has every open connection replaced: one after another, the new one first, and borrowed ones when they come
    /// back. Nobody waits for it. For a changed password, certificate or address, and after a failover.
    pub fn refresh(&self) {
        self.inner.shared.refresh();
    }

    /// Suspends the pool, waits until all borrowed connections are back, and closes them.
    ///
    /// Returns after `close_timeout` at the latest, with the number of connections still borrowed. The pool stays
    /// suspended; [`resume`](Self::resume) opens connections anew. Dropping the future leaves the pool suspended.
    pub async fn drain(&self) -> usize {
        let shared = &self.inner.shared;
        self.suspend();
        shared.set_draining(true);
        let all_back = async {
            loop {
                let mut returned = pin!(shared.returned.notified());
                returned.as_mut().enable();
                if shared.registry.counts().1 > 0 {
                    returned.await;
                    continue;
                }
                self.inner.sets().for_each(Slots::close_idle);
                if self.inner.sets().all(Slots::is_empty) {
                    return;
                }
                // One is being opened or asked for a sign of life, or is on its way to a caller that came first.
                let _ = timeout(CLOSE_INTERVAL, returned).await;
            }
        };
        // What is left is counted below.
        let _ = timeout(shared.config.close_timeout, all_back).await;
        shared.set_draining(false);
        self.inner.sets().for_each(Slots::close_idle);
        let left = shared.registry.counts().1;
        if left > 0 {
            tracing::warn!(pool = %shared.config.name, left, "connections did not come back in time");
        }
        left
    }

    /// The configuration in effect.
    pub fn config(&self) -> &PoolConfig {
        &self.inner.shared.config
    }

    /// Closes the pool: waiters and later callers get [`AcquireError::Closed`], idle connections close, borrowed ones
    /// when they come back.
    ///
    /// Returns when all files and sockets are closed, or after `close_timeout`, with the number of connections still
    /// open. Dropping the future leaves the pool closed. Calling it again waits again.
    pub async fn close(&self) -> usize {
        let shared = &self.inner.shared;
        shared.set_closed();
        if let Some(lanes) = &self.inner.lanes {
            lanes.close();
        }
        let closing = async {
            loop {
                self.inner.sets().for_each(Slots::close);
                // A connect that was under way may have put its connection among the idle ones since.
                if timeout(CLOSE_INTERVAL, shared.all_closed()).await.is_ok() {
                    return;
                }
            }
        };
        if timeout(shared.config.close_timeout, closing).await.is_err() {
            let open = shared.open_count();
            tracing::warn!(pool = %shared.config.name, open, "closed with connections still in use");
        }
        shared.open_count()
    }

    /// The database is known to be back, so a pause after failed connects is over.
    #[cfg(feature = "postgres")]
    pub(crate) fn try_now(&self) {
        self.inner.main.try_now();
    }

    pub(crate) fn downgrade(&self) -> WeakPool<B> {
        WeakPool(Arc::downgrade(&self.inner))
    }

    /// A connection for a transaction.
    pub(crate) async fn checkout(
        &self,
        read_only: bool,
        at: &'static Location<'static>,
    ) -> Result<Checkout<B>, AcquireError> {
        let slots = if read_only {
            self.reading()
        } else {
            &self.inner.main
        };
        slots.acquire_from(at, None).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn reading(&self) -> &Slots<B> {
        self.inner.readers.as_ref().unwrap_or(&self.inner.main)
    }
}

/// A handle that does not keep the pool alive, for tasks in its background.
pub(crate) struct WeakPool<B: Backend>(Weak<Inner<B>>);

impl<B: Backend> WeakPool<B> {
    /// `None` once the last handle is dropped.
    pub(crate) fn upgrade(&self) -> Option<Pool<B>> {
        let inner = self.0.upgrade()?;
        Some(Pool { inner })
    }
}

impl<B: Backend> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<B: Backend> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// How often a closing or draining pool looks for connections that became idle.
const CLOSE_INTERVAL: Duration = Duration::from_millis(20);
/// How many holders a status names.
const SHOWN_HOLDERS: usize = 16;
