//! A borrowed connection, and what happens when the borrower lets go of it: back at once, repaired first, or closed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Condition};
use crate::manager::Managed;
use crate::metrics::CloseReason;
use crate::observe::Returned;
use crate::registry::Ended;
use crate::slots::{Permit, Pooled, Set};

/// A borrowed connection that may write; it goes back when dropped.
///
/// Use it where diesel-async wants a connection: `query.load(&mut conn).await`. Dropping it in the middle of a
/// statement or a transaction never blocks and never panics: the pool waits for the statement and rolls back in the
/// background, for at most `recovery_timeout`, before anybody else gets the connection. A test transaction ends with it.
pub struct Connection<B: Backend>(pub(crate) Checkout<B>);

impl<B: Backend> Connection<B> {
    /// Closes the connection instead of giving it back; for session state that must not reach the next borrower.
    pub fn discard(mut this: Self) {
        this.0.managed_mut().broken = true;
        drop(this.0.close());
    }

    /// Makes sure that the connection is closed when it comes back, however it is dropped.
    #[cfg(feature = "postgres")]
    pub(crate) fn retire(this: &mut Self) {
        this.0.managed_mut().broken = true;
    }
}

impl<B: Backend> Deref for Connection<B> {
    type Target = B::Connection;

    fn deref(&self) -> &B::Connection {
        self.0.connection()
    }
}

impl<B: Backend> DerefMut for Connection<B> {
    fn deref_mut(&mut self) -> &mut B::Connection {
        self.0.connection_mut()
    }
}

impl<B: Backend> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("backend", &B::KIND)
            .finish_non_exhaustive()
    }
}

/// A connection that bb8 has opened, together with the permit that entitles to it.
pub(crate) struct Checkout<B: Backend> {
    /// `Some` until drop or `close`.
    parts: Option<(Pooled<B>, Permit<B>)>,
}

impl<B: Backend> Checkout<B> {
    /// The connection is marked as lent already.
    pub(crate) fn new(
        pooled: Pooled<B>,
        permit: Permit<B>,
        at: &'static Location<'static>,
        now: Instant,
    ) -> Self {
        pooled.recorder.lend(at, now);
        Self {
            parts: Some((pooled, permit)),
        }
    }

    /// Gives the connection back; the future ends when it is ready for the next borrower, or closed.
    pub(crate) fn ended(mut self) -> impl Future<Output = ()> + Send + 'static {
        let (ended, end) = oneshot::channel();
        if let Some((_, permit)) = &mut self.parts {
            permit.ended = Some(ended);
        }
        drop(self);
        async move {
            // Nothing is ever sent: the sender is dropped.
            let _ = end.await;
        }
    }

    pub(crate) fn managed_mut(&mut self) -> &mut Managed<B::Connection> {
        &mut self.parts.as_mut().expect(HELD).0
    }

    pub(crate) fn connection(&self) -> &B::Connection {
        self.parts.as_ref().expect(HELD).0.connection()
    }

    pub(crate) fn connection_mut(&mut self) -> &mut B::Connection {
        self.managed_mut().connection_mut()
    }

    /// Closes the connection and keeps the permit, for another attempt.
    pub(crate) fn close(mut self) -> Permit<B> {
        let (pooled, permit) = self.parts.take().expect(HELD);
        close_pooled(pooled, &permit.set);
        permit
    }
}

impl<B: Backend> Drop for Checkout<B> {
    fn drop(&mut self) {
        let Some((mut pooled, permit)) = self.parts.take() else {
            return; // closed
        };
        let set = &permit.set;
        let closed = set.shared.is_closed();
        match B::condition(pooled.connection_mut()) {
            Condition::Clean if !closed && !pooled.broken => give_back(pooled, permit),
            Condition::Dirty if !closed && !pooled.broken => {
                pooled.seat.recovering();
                // Closed if the runtime stops in the middle.
                pooled.broken = true;
                let runtime = set.shared.runtime.clone();
                runtime.spawn(repair(pooled, permit));
            }
            _ => close_pooled(pooled, set),
        }
    }
}

/// Makes a clean connection idle again.
fn give_back<B: Backend>(pooled: Pooled<B>, permit: Permit<B>) {
    let set = &permit.set;
    let now = Instant::now();
    let Some(ended) = pooled.seat.come_back(now) else {
        return close_pooled(pooled, set);
    };
    set.usual_hold.record(ended.held);
    if ended.was_told {
        tell_of_late_return(set, &ended);
    }
    if ended.retired || set.has_surplus() {
        return close_pooled(pooled, set);
    }
    pooled.recorder.returned(Returned::Settled, now);
    // Idle before the permit is free: its next holder must find the connection.
    set.put(pooled);
    set.shared.tell_returned();
    drop(permit);
}

/// Makes a connection fit for the next borrower, or closes it; holds the permit meanwhile.
async fn repair<B: Backend>(mut pooled: Pooled<B>, permit: Permit<B>) {
    let set = &permit.set;
    let (shared, limit) = (&set.shared, set.shared.config.recovery_timeout);
    let connection = pooled.connection_mut();
    let repaired = match timeout(limit, B::recover(connection)).await {
        Ok(Ok(())) => B::condition(connection) == Condition::Clean,
        Ok(Err(_)) | Err(_) => false,
    };
    let (counters, metrics) = (&shared.counters, &shared.metrics);
    if repaired {
        counters.recovered.fetch_add(1, Relaxed);
        metrics.recovered.increment(1);
        pooled.broken = false;
        if !shared.is_closed() {
            return give_back(pooled, permit);
        }
    } else {
        counters.discarded.fetch_add(1, Relaxed);
        metrics.discarded.increment(1);
        tracing::warn!(pool = %shared.config.name, "an abandoned connection could not be repaired");
    }
    close_pooled(pooled, set);
}

/// The most telling reason; what is fit, young and of today's generation was closed because there were too many.
fn why_closed<B: Backend>(pooled: &mut Pooled<B>, set: &Set<B>, now: Instant) -> CloseReason {
    let shared = &set.shared;
    let too_old = pooled.seat.lifetime.is_some_and(|it| now >= it.replace_at);
    match B::condition(pooled.connection_mut()) {
        _ if shared.is_closed() => CloseReason::PoolClosed,
        Condition::Broken => CloseReason::Broken,
        Condition::Dirty => CloseReason::Discarded,
        Condition::Clean if pooled.seat.generation != shared.generation() => {
            CloseReason::Generation
        }
        Condition::Clean if shared.is_unrefreshed(pooled.seat.born) => CloseReason::Generation,
        Condition::Clean if too_old => CloseReason::Lifetime,
        Condition::Clean if pooled.broken => CloseReason::Requested,
        Condition::Clean => CloseReason::Idle,
    }
}

/// Closes a connection that is neither idle nor lent any more.
pub(crate) fn close_pooled<B: Backend>(mut pooled: Pooled<B>, set: &Set<B>) {
    // A backend may spawn what ends a statement, and the guard may be dropped outside of the runtime.
    let _entered = set.shared.runtime.enter();
    let now = Instant::now();
    let why = why_closed(&mut pooled, set, now);
    set.shared.metrics.closed.increment(why);
    if let Some(ended) = pooled.seat.come_back(now)
        && ended.was_told
    {
        tell_of_late_return(set, &ended);
    }
    set.left(&pooled.seat);
    B::abandon(pooled.connection_mut());
    pooled.recorder.returned(Returned::Unknown, now);
    pooled.uncount();
    drop(pooled);
    set.shared.tell_returned();
}

fn tell_of_late_return<B: Backend>(set: &Set<B>, ended: &Ended) {
    let (pool, Ended { held, at, .. }) = (&set.shared.config.name, ended);
    tracing::info!(%pool, ?held, %at, "a connection that was told as a leak came back");
}

const HELD: &str = "a checkout holds its parts until drop or close, which consume it";
