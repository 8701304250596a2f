//! A set of equal connections: a fair queue in front, bb8 behind, and the loop that turns a turn in the queue into a
//! connection that works.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout, timeout_at};

use crate::backend::{Backend, Condition, Role};
use crate::error::{AcquireError, ConnectError, ConnectErrorKind};
use crate::guard::Checkout;
use crate::manager::Manager;
use crate::shared::Shared;

pub(crate) struct Slots<B: Backend> {
    bb8: bb8::Pool<Manager<B>>,
    /// One permit per connection, given out in the order of asking. Whoever holds one finds an idle connection or
    /// room for a new one, so nobody ever waits inside bb8 for another borrower.
    permits: Arc<Semaphore>,
    size: u32,
    shared: Arc<Shared>,
}

impl<B: Backend> Slots<B> {
    /// Must be called inside a Tokio runtime: bb8 spawns its reaper.
    pub(crate) fn new(
        connector: Arc<B::Connector>,
        role: Role,
        size: u32,
        min_idle: u32,
        shared: Arc<Shared>,
    ) -> Self {
        let config = &shared.config;
        let bb8 = bb8::Pool::builder()
            .max_size(size)
            .min_idle((min_idle > 0).then_some(min_idle))
            .test_on_check_out(false)
            .retry_connection(false)
            .max_lifetime(config.max_lifetime)
            .idle_timeout(config.idle_timeout)
            .reaper_rate(reaper_rate(config.idle_timeout, config.max_lifetime))
            // Time is kept here; bb8's own limit must never strike first.
            .connection_timeout(config.acquire_timeout * 2)
            // Last in, first out: connections above the need stay idle and can be closed.
            .queue_strategy(bb8::QueueStrategy::Lifo)
            .build_unchecked(Manager {
                connector,
                role,
                shared: Arc::clone(&shared),
            });
        let permits = Arc::new(Semaphore::new(size as usize));
        Self {
            bb8,
            permits,
            size,
            shared,
        }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// What entitles to one connection each; for connections that are not lent but count all the same.
    pub(crate) fn permits(&self) -> Arc<Semaphore> {
        Arc::clone(&self.permits)
    }

    /// Borrows a connection within `acquire_timeout`.
    ///
    /// Cancelling: a caller dropped while queueing leaves the queue; dropped later, its permit and its connection
    /// go back. A connection being opened for it is opened all the same and serves the next caller.
    pub(crate) async fn acquire(&self) -> Result<Checkout<B>, AcquireError> {
        let started = Instant::now();
        let result = self
            .acquire_by(started, started + self.shared.config.acquire_timeout)
            .await;
        let (counters, metrics) = (&self.shared.counters, &self.shared.metrics);
        metrics.acquire.record(started.elapsed());
        match &result {
            Ok(_) => {
                counters.acquired.fetch_add(1, Relaxed);
            }
            Err(error) => {
                if error.is_timeout() {
                    counters.timeouts.fetch_add(1, Relaxed);
                }
                match error {
                    AcquireError::Exhausted { .. } => metrics.exhausted.increment(1),
                    AcquireError::Overloaded { .. } => metrics.overloaded.increment(1),
                    _ if error.is_timeout() => metrics.connect_timeouts.increment(1),
                    _ => {}
                }
            }
        }
        result
    }

    async fn acquire_by(
        &self,
        started: Instant,
        deadline: Instant,
    ) -> Result<Checkout<B>, AcquireError> {
        let mut permit = self.queue(started, deadline).await?;
        loop {
            // Cancel-safe: until a connection is there only the permit is held, afterwards the checkout holds both.
            let taken = self.take(started, deadline).await?;
            let mut checkout = Checkout::new(taken, permit, Arc::clone(&self.shared));
            match self.judge(&mut checkout, started, deadline).await {
                Verdict::Fit => return Ok(checkout),
                // Opening is refused once the pool is closed.
                Verdict::Failed(_) if self.shared.is_closed() => return Err(AcquireError::Closed),
                Verdict::Failed(error) => return Err(error.into()),
                Verdict::Unfit => permit = checkout.close(),
            }
        }
    }

    /// Waits for a permit, in the order of asking.
    async fn queue(
        &self,
        started: Instant,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        // Never overtakes: freed permits belong to the queue before anybody can try for them.
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(AcquireError::Closed),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _waiting = Waiting::join(&self.shared)?;
        // Cancel-safe: a dropped waiter leaves the semaphore's queue, and a permit already given to it passes on.
        match timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(AcquireError::Closed),
            Err(_) => Err(AcquireError::Exhausted {
                waited: started.elapsed(),
                max_size: self.size,
            }),
        }
    }

    /// Takes an idle connection out of bb8, or waits until it has opened one.
    async fn take(
        &self,
        started: Instant,
        deadline: Instant,
    ) -> Result<bb8::PooledConnection<'static, Manager<B>>, AcquireError> {
        loop {
            if self.shared.is_closed() {
                return Err(AcquireError::Closed);
            }
            // bb8 looks for an idle connection and only then starts to listen for one: of two callers woken between
            // the two steps one sleeps on. Asking again makes up for it. Dropping its `get` is safe: it passes on a
            // notification that it has received.
            let patience = LOST_WAKE_UP.min(deadline - Instant::now());
            match timeout(patience, self.bb8.get_owned()).await {
                Ok(Ok(taken)) => return Ok(taken),
                Ok(Err(_)) | Err(_) if Instant::now() < deadline => {}
                Ok(Err(_)) | Err(_) => {
                    // A permit was there, so what took so long was opening a connection.
                    tracing::debug!(waited = ?started.elapsed(), "no connection opened in time");
                    let target = self.shared.config.shown_url();
                    return Err(ConnectError::new(ConnectErrorKind::TimedOut, target).into());
                }
            }
        }
    }

    /// Decides whether what bb8 gave can be lent.
    async fn judge(
        &self,
        checkout: &mut Checkout<B>,
        started: Instant,
        deadline: Instant,
    ) -> Verdict {
        let config = &self.shared.config;
        let now = Instant::now();
        let managed = checkout.managed_mut();
        let (last_used, outdated) = (managed.last_used, managed.is_outdated(&self.shared, now));
        let stale_failure = managed.is_older_than(started);
        let connection = match &mut managed.slot {
            // A failure from before this caller asked says nothing about now.
            Err(_) if stale_failure => return Verdict::Unfit,
            Err(error) => return Verdict::Failed(error.clone()),
            Ok(_) if outdated => return Verdict::Unfit,
            Ok(connection) => connection,
        };
        let fresh = now.duration_since(last_used) < config.validate_after_idle;
        if fresh && !self.shared.is_suspect(last_used) {
            return match B::condition(connection) {
                Condition::Clean => Verdict::Fit,
                Condition::Dirty | Condition::Broken => Verdict::Unfit,
            };
        }
        let limit = config.validation_timeout.min(deadline - now);
        // Cancelling here leaves an unanswered question behind; the checkout then repairs the connection.
        match timeout(limit, B::ping(connection)).await {
            Ok(Ok(())) => Verdict::Fit,
            failed => {
                tracing::info!(pool = %config.name, timed_out = failed.is_err(), "an idle connection is dead");
                self.shared.suspect();
                Verdict::Unfit
            }
        }
    }

    /// Turns waiters away and closes idle connections; those in use close when they come back.
    pub(crate) async fn close(&self) {
        self.permits.close();
        for _ in 0..self.size {
            if self.bb8.state().idle_connections == 0 {
                return;
            }
            // The closed flag is set: going back into the pool closes it.
            drop(timeout(LOST_WAKE_UP, self.bb8.get_owned()).await);
        }
    }
}

enum Verdict {
    Fit,
    /// Close it and take another.
    Unfit,
    Failed(ConnectError),
}

/// A place in the queue, counted; given up on drop.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn join(shared: &'a Shared) -> Result<Self, AcquireError> {
        let before = shared.counters.waiting.fetch_add(1, Relaxed);
        let this = Self(shared);
        this.publish();
        if before >= shared.config.max_waiting as usize {
            return Err(AcquireError::Overloaded { waiting: before });
        }
        Ok(this)
    }

    fn publish(&self) {
        self.0
            .metrics
            .waiters
            .set(self.0.counters.waiting.load(Relaxed) as f64);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.counters.waiting.fetch_sub(1, Relaxed);
        self.publish();
    }
}

/// How often idle and aged connections are looked for: often enough to matter, at most once a second.
fn reaper_rate(idle_timeout: Option<Duration>, max_lifetime: Option<Duration>) -> Duration {
    let shortest = idle_timeout
        .into_iter()
        .chain(max_lifetime)
        .min()
        .unwrap_or(LONGEST_REAPER_RATE);
    (shortest / 2).clamp(Duration::from_secs(1), LONGEST_REAPER_RATE)
}

const LONGEST_REAPER_RATE: Duration = Duration::from_secs(30);

/// The longest sleep of a caller whose wake-up was lost.
const LOST_WAKE_UP: Duration = Duration::from_millis(20);
