//! Writes: the primary, and while there is none a bounded wait for the next.

use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::connection::PrimaryConnection;
use super::core::Core;
use super::handle::Replicas;
use super::read::is_gone;
use super::servers::Servers;
use crate::error::AcquireError;
use crate::guard::{Checkout, Connection};
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::scope::Scope;
use crate::transaction::{AsyncFunc, Transaction, TransactionOptions};

impl Replicas {
    /// Borrows a connection of the primary.
    ///
    /// While there is no primary, or it cannot be reached, waits for the next one, at most `failover_wait` and no longer
    /// than the request has. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// [`AcquireError::NoPrimary`] with what each server said; [`AcquireError::Overloaded`] if `max_waiting` others
    /// wait for a primary already; else as [`Pool::acquire`](crate::Pool::acquire).
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<PrimaryConnection, AcquireError>> + Send + use<'_> {
        let at = Location::caller();
        async move {
            let (_, checkout) = self.lend(at).await?;
            Ok(PrimaryConnection::new(Connection(checkout)))
        }
    }

    /// Runs `body` inside a transaction on the primary, as [`Pool::transaction`](crate::Pool::transaction) does.
    ///
    /// While there is no primary it waits as [`acquire`](Self::acquire) does. What failed because the primary was lost in
    /// the middle is not run again: the caller knows whether that is safe. Where the commit lies in the log is noted
    /// in the current [`Scope`], so that its later reads see it.
    ///
    /// # Errors
    /// What `body` returns; an [`AcquireError`] or an error of diesel turned into `E`.
    #[track_caller]
    pub fn transaction<'a, R, E, F>(
        &'a self,
        options: TransactionOptions,
        body: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'a
    where
        for<'r> F: AsyncFnOnce(&'r mut Transaction<Postgres>) -> Result<R, E>
            + AsyncFunc<&'r mut Transaction<Postgres>, Result<R, E>, Fut: Send>
            + Clone
            + Send
            + 'a,
        E: From<diesel::result::Error> + From<AcquireError> + Send + 'a,
        R: Send + 'a,
    {
        let at = Location::caller();
        async move {
            let (pool, checkout) = self.lend(at).await?;
            pool.transaction_on(Some(checkout), options, body, at).await
        }
    }

    /// A connection of the primary, and the pool that it came from.
    async fn lend(
        &self,
        at: &'static Location<'static>,
    ) -> Result<(Pool<Postgres>, Checkout<Postgres>), AcquireError> {
        let core = self.core();
        let started = Instant::now();
        let deadline = started + core.config.failover_wait;
        let end = Scope::current().and_then(|scope| scope.deadline());
        let deadline = end.map_or(deadline, |end| end.min(deadline));
        let mut waiting = None;
        loop {
            if core.is_closed() {
                return Err(AcquireError::Closed);
            }
            let mut news = core.news();
            let writer = core.servers().writer();
            if let Some(server) = writer
                && let Some(pool) = core.pool(server)
            {
                let is_writer = |servers: &Servers| servers.writer() == Some(server);
                let checkout = pool.checkout(false, at);
                match core.as_long_as(is_writer, checkout).await {
                    Some(Ok(checkout)) => return Ok((pool.clone(), checkout)),
                    Some(Err(error)) if is_gone(&error) => core.doubt(server),
                    Some(Err(error)) => return Err(error),
                    None => {}
                }
            }
            if waiting.is_none() {
                waiting = Some(Waiting::join(core)?);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(AcquireError::NoPrimary {
                    waited: started.elapsed(),
                    servers: core.said(),
                });
            }
            if core.servers().may_ask_again(now, ASK_AGAIN) {
                core.ask_all();
            }
            // CANCEL: only the place among those who wait is given up.
            let _ = timeout_at(deadline.min(now + ASK_AGAIN), news.changed()).await;
        }
    }
}

/// One of those who wait for a primary.
struct Waiting<'a>(&'a Core);

impl<'a> Waiting<'a> {
    fn join(core: &'a Core) -> Result<Self, AcquireError> {
        let before = core.waiting.fetch_add(1, Relaxed);
        let this = Self(core);
        if before >= core.config.max_waiting as usize {
            return Err(AcquireError::Overloaded { waiting: before });
        }
        Ok(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// How often all servers are asked while somebody waits for a primary.
const ASK_AGAIN: Duration = Duration::from_millis(100);
