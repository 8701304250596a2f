//! The pool: a cheap handle that lends connections, runs transactions, reports and closes.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Role};
use crate::config::PoolConfig;
use crate::error::{AcquireError, ConfigError, ConnectError, ConnectErrorKind, OpenError};
use crate::guard::{Checkout, Connection};
use crate::lane::{Lane, Lanes, Learned};
use crate::manager::Manager;
use crate::shared::Shared;
use crate::slots::Slots;
use crate::status::Status;

/// A pool of connections to one database; a cheap clone of a shared handle.
///
/// Dropping the last clone closes idle connections; [`Pool::close`] also waits for borrowed ones.
pub struct Pool<B: Backend> {
    inner: Arc<Inner<B>>,
}

struct Inner<B: Backend> {
    shared: Arc<Shared>,
    main: Slots<B>,
    /// SQLite's readers; `None` where reads share the other connections.
    readers: Option<Slots<B>>,
    /// `None` where reads borrow a connection each.
    lanes: Option<Arc<Lanes<B>>>,
    learned: Arc<Learned>,
}

impl<B: Backend> Pool<B> {
    /// Checks the configuration and opens the first connection, so that a wrong password or a missing folder shows
    /// here and at once.
    ///
    /// Needs a running Tokio runtime with time (and, for PostgreSQL, I/O) enabled. Spawns bb8's reaper, which ends
    /// with the pool.
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
            Slots::new(
                Arc::clone(&connector),
                role,
                size,
                min_idle,
                Arc::clone(&shared),
            )
        };
        // The writer opens first: it creates a SQLite file and switches it to WAL before any reader looks.
        let main_idle = if B::SEPARATE_READERS { 0 } else { min_idle };
        let main_size = if B::SEPARATE_READERS { 1 } else { max_size };
        let main = slots(Role::Writer, main_size, main_idle);
        drop(
            main.acquire()
                .await
                .map_err(|error| open_error(error, &shared))?,
        );
        let readers = B::SEPARATE_READERS.then(|| slots(Role::Reader, reading, min_idle));
        let learned = Arc::<Learned>::default();
        let lines_max = shared.config.lanes_at_most();
        let lanes = (B::LANES && lines_max > 0).then(|| {
            let manager = Manager {
                connector,
                role: Role::Lane,
                shared: Arc::clone(&shared),
            };
            Lanes::new(manager, main.permits(), lines_max, Arc::clone(&learned))
        });
        tracing::debug!(pool = %shared.config.name, backend = %kind, max_size, "pool opened");
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                main,
                readers,
                lanes,
                learned,
            }),
        })
    }

    /// Borrows a connection that may write; on SQLite there is exactly one.
    ///
    /// Waits in the order of asking, at most `acquire_timeout`. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// See [`AcquireError`]. A connection that cannot be opened is reported as soon as that is known.
    pub async fn acquire(&self) -> Result<Connection<B>, AcquireError> {
        self.inner.main.acquire().await.map(Connection)
    }

    /// Gives a lane for single reading statements: on PostgreSQL a place on a connection that many share, on SQLite
    /// one of the readers, which never wait for the writer.
    ///
    /// Waits in the order of asking, at most `acquire_timeout`, for a place among `lane_depth` on each of `lanes`
    /// connections. The first read opens the first of them. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn read(&self) -> Result<Lane<B>, AcquireError> {
        if let Some(lanes) = &self.inner.lanes {
            return lanes.read().await.map(Lane::shared);
        }
        let learned = B::LANES.then(|| Arc::clone(&self.inner.learned));
        let checkout = self.reading().acquire().await?;
        Ok(Lane::alone(checkout, learned))
    }

    /// Asks the database for a sign of life and returns how long the answer took, without the wait for a connection.
    ///
    /// # Errors
    /// As [`Pool::acquire`], and [`AcquireError::PingFailed`].
    pub async fn ping(&self) -> Result<Duration, AcquireError> {
        let mut checkout = self.reading().acquire().await?;
        let started = Instant::now();
        let limit = self.inner.shared.config.validation_timeout;
        match timeout(limit, B::ping(checkout.connection_mut())).await {
            Ok(Ok(())) => Ok(started.elapsed()),
            Ok(Err(error)) => Err(AcquireError::PingFailed {
                source: Some(error),
            }),
            Err(_) => Err(AcquireError::PingFailed { source: None }),
        }
    }

    /// The state of the pool now; reads counters only.
    pub fn status(&self) -> Status {
        let shared = &self.inner.shared;
        shared.metrics.flush();
        let counters = &shared.counters;
        let size = counters.size.load(Relaxed);
        let in_use = counters.in_use.load(Relaxed);
        Status {
            name: shared.config.name.clone(),
            backend: Status::kind(B::KIND),
            max_size: self.inner.main.size() + self.inner.readers.as_ref().map_or(0, Slots::size),
            size,
            idle: size.saturating_sub(in_use),
            in_use,
            recovering: counters.recovering.load(Relaxed),
            waiting: counters.waiting.load(Relaxed),
            acquired_total: counters.acquired.load(Relaxed),
            timeouts_total: counters.timeouts.load(Relaxed),
            connects_total: counters.connects.load(Relaxed),
            connect_failures_total: counters.connect_failures.load(Relaxed),
            recovered_total: counters.recovered.load(Relaxed),
            discarded_total: counters.discarded.load(Relaxed),
            closed: shared.is_closed(),
        }
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
        let all = || self.inner.readers.iter().chain([&self.inner.main]);
        if let Some(lanes) = &self.inner.lanes {
            lanes.close();
        }
        let closing = async {
            loop {
                for slots in all() {
                    slots.close().await;
                }
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

    /// A connection for a transaction.
    pub(crate) async fn checkout(
        &self,
        read_only: bool,
        _at: &'static Location<'static>,
    ) -> Result<Checkout<B>, AcquireError> {
        let slots = if read_only {
            self.reading()
        } else {
            &self.inner.main
        };
        slots.acquire().await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn reading(&self) -> &Slots<B> {
        self.inner.readers.as_ref().unwrap_or(&self.inner.main)
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

/// How often a closing pool looks for connections that became idle.
const CLOSE_INTERVAL: Duration = Duration::from_millis(20);

/// Nobody else uses the pool yet, so all that can go wrong is connecting.
fn open_error(error: AcquireError, shared: &Shared) -> OpenError {
    match error {
        AcquireError::ConnectFailed { source, .. } => source.into(),
        _ => ConnectError::new(ConnectErrorKind::TimedOut, shared.config.shown_url()).into(),
    }
}
