//! Reads: the next best server until one lends what is needed.

use std::panic::Location;

use tokio::time::{Instant, timeout, timeout_at};

use super::core::Core;
use super::handle::Replicas;
use super::lane::{Lent, ReplicaLane};
use super::servers::{Servers, bit};
use crate::error::AcquireError;
use crate::lsn::Lsn;
use crate::pool::Pool;
use crate::postgres::Postgres;
use crate::scope::Scope;
use crate::transaction::{AsyncFunc, Transaction, TransactionOptions};

impl Replicas {
    /// Borrows a lane of the replica that is expected to answer soonest, for single reading statements.
    ///
    /// Inside a [`Scope`] that wrote it is one that has seen the write, or the primary. A server that lends no lane
    /// within `patience` is passed over for the next. Dropping the future takes nothing with it.
    ///
    /// # Errors
    /// [`AcquireError::NoServer`] if no server may serve this read now; else what the last one tried answered.
    pub async fn read(&self) -> Result<ReplicaLane, AcquireError> {
        let (_, lane, lent) = self.borrow(Pool::read).await?;
        Ok(ReplicaLane::new(lane, lent))
    }

    /// Runs `body` inside a read-only transaction on a replica, so that all its statements see one snapshot; the replica
    /// is chosen as by [`read`](Self::read).
    ///
    /// A snapshot that stands in the way of replay is ended by the replica; then a clone of `body` runs again, as
    /// [`Pool::transaction`] does.
    ///
    /// # Errors
    /// What `body` returns; an [`AcquireError`] or an error of diesel turned into `E`.
    #[track_caller]
    pub fn read_transaction<'a, R, E, F>(
        &'a self,
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
            let checkout = |pool| Pool::checkout(pool, true, at);
            let (pool, checkout, _lent) = self.borrow(checkout).await?;
            let options = TransactionOptions::read_only();
            pool.transaction_on(Some(checkout), options, body, at).await
        }
    }

    /// Where in the log everything lies that the current request wrote: a token that its client may bring along with its
    /// next request, for [`Scope::wrote`]. `None` outside of a [`Scope`], and if nothing was written.
    ///
    /// Asks the primary, at most for `probe_timeout`, where connections were borrowed by [`acquire`](Self::acquire) and
    /// are back, and where the answer to a COMMIT was lost; other transactions know by themselves. Dropping the future
    /// changes nothing.
    ///
    /// # Errors
    /// [`AcquireError::NoPrimary`] if the primary does not answer, such a connection is still borrowed, or a COMMIT of
    /// unknown outcome may still take effect.
    pub async fn written(&self) -> Result<Option<Lsn>, AcquireError> {
        let core = self.core();
        let Some(scope) = Scope::current() else {
            return Ok(None);
        };
        let started = Instant::now();
        let deadline = started + core.config.probe_timeout;
        loop {
            let mut news = core.news();
            let need = needs(core, &scope);
            if !scope.unplaced().is_any() {
                return Ok(need);
            }
            core.ask_all();
            if timeout_at(deadline, news.changed()).await.is_err() {
                return Err(AcquireError::NoPrimary {
                    waited: started.elapsed(),
                    servers: core.said(),
                });
            }
        }
    }

    /// Takes something from the pool of one server after the other until one gives it.
    async fn borrow<'a, T, F>(
        &'a self,
        take: impl Fn(&'a Pool<Postgres>) -> F,
    ) -> Result<(&'a Pool<Postgres>, T, Lent), AcquireError>
    where
        F: Future<Output = Result<T, AcquireError>>,
    {
        let core = self.core();
        let need = self.need().await;
        let (mut tried, mut last) = (0, None);
        loop {
            if core.is_closed() {
                return Err(AcquireError::Closed);
            }
            let (server, is_last) = {
                let mut servers = core.servers();
                let Some(server) = servers.choose(need, tried) else {
                    break;
                };
                tried |= bit(server);
                (server, servers.is_last_choice(need, tried))
            };
            // From here on dropping the future gives the choice back.
            let lent = Lent::new(core, server);
            let Some(pool) = core.pool(server) else {
                continue;
            };
            let stands = |servers: &Servers| servers.all[server].standing().is_some();
            let taking = core.as_long_as(stands, take(pool));
            // CANCEL: a dropped read leaves the queue of the pool.
            let taken = match is_last {
                true => taking.await,
                // Too much to do or too slow: its watcher will tell.
                false => timeout(core.config.patience, taking)
                    .await
                    .unwrap_or_else(|_| {
                        core.ask_all();
                        None
                    }),
            };
            match taken {
                Some(Ok(taken)) => return Ok((pool, taken, lent)),
                Some(Err(error)) => {
                    if is_gone(&error) {
                        core.failed(server, &in_short(&error));
                    }
                    last = Some(error);
                }
                None => {}
            }
        }
        Err(last.unwrap_or_else(|| AcquireError::NoServer {
            servers: core.said(),
        }))
    }

    /// What the read has to see; waits for a replica that does, if that is wanted.
    async fn need(&self) -> Option<Lsn> {
        let core = self.core();
        let scope = Scope::current()?;
        let Some(limit) = core.config.wait_for_write else {
            return needs(core, &scope);
        };
        let deadline = Instant::now() + limit;
        let deadline = scope.deadline().map_or(deadline, |end| end.min(deadline));
        loop {
            let mut news = core.news();
            let need = needs(core, &scope)?;
            let (seen, hopeless) = {
                let servers = core.servers();
                (servers.has_seen(need), !servers.has_replicas())
            };
            if seen || hopeless || core.is_closed() {
                return Some(need);
            }
            core.ask_all();
            if timeout_at(deadline, news.changed()).await.is_err() {
                return Some(need);
            }
        }
    }
}

/// The end of what the request wrote; beyond everything while that is not known.
fn needs(core: &Core, scope: &Scope) -> Option<Lsn> {
    let unplaced = scope.unplaced();
    if !unplaced.is_any() {
        return scope.written();
    }
    let end = core.servers().end_of_log();
    match end.and_then(|(asked, end)| unplaced.place(asked, end)) {
        Some(end) => {
            scope.wrote(end);
            scope.written()
        }
        None => Some(Lsn::new(u64::MAX)),
    }
}

/// Whether the error means that the server may be gone, rather than busy.
pub(super) fn is_gone(error: &AcquireError) -> bool {
    use crate::error::ConnectErrorKind as Kind;
    match error {
        AcquireError::ConnectFailed {
            source, permanent, ..
        } => !permanent && source.kind() != Kind::TooManyConnections,
        AcquireError::ValidationFailed { .. } => true,
        _ => false,
    }
}

fn in_short(error: &AcquireError) -> String {
    match error {
        AcquireError::ConnectFailed { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
