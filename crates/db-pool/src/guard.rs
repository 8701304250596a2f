//! A borrowed connection, and what happens when the borrower lets go of it: back at once, repaired first, or closed.

use std::convert::Infallible;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Condition};
use crate::manager::{Managed, Manager};
use crate::observe::Returned;
use crate::shared::Shared;

/// A borrowed connection that may write; it goes back when dropped.
///
/// Use it where diesel-async wants a connection: `query.load(&mut conn).await`. Dropping it in the middle of a
/// statement or a transaction never blocks and never panics: the pool waits for the statement and rolls back in the
/// background, for at most `recovery_timeout`, before anybody else gets the connection. A test transaction ends with it.
pub struct Connection<B: Backend>(pub(crate) Checkout<B>);

impl<B: Backend> Connection<B> {
    /// Closes the connection instead of giving it back; for session state that must not reach the next borrower.
    pub fn discard(this: Self) {
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

type Pooled<B> = bb8::PooledConnection<'static, Manager<B>>;

/// A connection out of bb8 together with the permit that entitles to it.
pub(crate) struct Checkout<B: Backend> {
    /// `Some` until drop or `close`.
    pooled: Option<Pooled<B>>,
    permit: Option<OwnedSemaphorePermit>,
    lent: Option<Lent>,
}

impl<B: Backend> Checkout<B> {
    pub(crate) fn new(
        pooled: Pooled<B>,
        permit: OwnedSemaphorePermit,
        shared: Arc<Shared>,
    ) -> Self {
        let lent = Lent::new(shared, pooled.slot.is_ok());
        pooled.recorder.lend(Location::caller());
        Self {
            pooled: Some(pooled),
            permit: Some(permit),
            lent: Some(lent),
        }
    }

    /// Gives the connection back; the future ends when it is ready for the next borrower, or closed.
    pub(crate) fn ended(mut self) -> impl Future<Output = ()> + Send + 'static {
        let (ended, end) = oneshot::channel();
        if let Some(lent) = &mut self.lent {
            lent.ended = Some(ended);
        }
        drop(self);
        async move {
            // Nothing is ever sent: the sender is dropped.
            let _ = end.await;
        }
    }

    pub(crate) fn managed_mut(&mut self) -> &mut Managed<B::Connection> {
        self.pooled.as_mut().expect(HELD)
    }

    pub(crate) fn connection(&self) -> &B::Connection {
        self.pooled
            .as_ref()
            .and_then(|pooled| pooled.connection())
            .expect(LENT)
    }

    pub(crate) fn connection_mut(&mut self) -> &mut B::Connection {
        self.managed_mut().connection_mut().expect(LENT)
    }

    /// Closes the connection and keeps the permit, for another attempt.
    pub(crate) fn close(mut self) -> OwnedSemaphorePermit {
        let pooled = self.pooled.take().expect(HELD);
        let lent = self.lent.take().expect(HELD);
        let permit = self.permit.take().expect(HELD);
        close(pooled, &lent.shared);
        permit
    }
}

impl<B: Backend> Drop for Checkout<B> {
    fn drop(&mut self) {
        let (Some(mut pooled), Some(permit), Some(lent)) =
            (self.pooled.take(), self.permit.take(), self.lent.take())
        else {
            return; // closed
        };
        // bb8 spawns replacements, and the guard may be dropped outside of the runtime.
        let shared = Arc::clone(&lent.shared);
        let _entered = shared.runtime.enter();
        pooled.last_used = Instant::now();
        let condition = match &mut pooled.slot {
            Ok(connection) => B::condition(connection),
            Err(_) => Condition::Broken,
        };
        match condition {
            Condition::Dirty if !shared.is_closed() => {
                shared.runtime.spawn(repair(pooled, permit, lent));
            }
            Condition::Dirty | Condition::Broken => close(pooled, &shared),
            Condition::Clean => {
                pooled.recorder.returned(Returned::Settled);
                // Idle before the permit is free: its next holder must find the connection.
                drop(lent);
                drop(pooled);
                drop(permit);
            }
        }
    }
}

/// Makes a connection fit for the next borrower, or closes it; holds the permit meanwhile.
///
/// When the runtime stops in the middle, bb8 finds the connection still dirty and closes it.
async fn repair<B: Backend>(mut pooled: Pooled<B>, permit: OwnedSemaphorePermit, mut lent: Lent) {
    let shared = Arc::clone(&lent.shared);
    lent.set_recovering();
    let limit = shared.config.recovery_timeout;
    let repaired = match pooled.connection_mut() {
        Some(connection) => match timeout(limit, B::recover(connection)).await {
            Ok(Ok(())) => B::condition(connection) == Condition::Clean,
            Ok(Err(_)) | Err(_) => false,
        },
        None => false,
    };
    let (counters, metrics) = (&shared.counters, &shared.metrics);
    if repaired {
        counters.recovered.fetch_add(1, Relaxed);
        metrics.recovered.increment(1);
        pooled.last_used = Instant::now();
    } else {
        counters.discarded.fetch_add(1, Relaxed);
        metrics.discarded.increment(1);
        tracing::warn!(pool = %shared.config.name, "an abandoned connection could not be repaired");
    }
    drop(lent);
    if repaired {
        pooled.recorder.returned(Returned::Settled);
        drop(pooled);
    } else {
        close(pooled, &shared);
    }
    drop(permit);
}

fn close<B: Backend>(mut pooled: Pooled<B>, shared: &Shared) {
    let _entered = shared.runtime.enter();
    if let Some(connection) = pooled.connection_mut() {
        B::abandon(connection);
    }
    pooled.recorder.returned(Returned::Unknown);
    pooled.uncount();
    drop(pooled);
}

/// Counts a connection as in use, and as recovering while it is repaired.
struct Lent {
    shared: Arc<Shared>,
    counts: bool,
    recovering: bool,
    /// Dropped with this, for whoever waits for the end.
    ended: Option<oneshot::Sender<Infallible>>,
}

impl Lent {
    fn new(shared: Arc<Shared>, counts: bool) -> Self {
        if counts {
            shared.counters.in_use.fetch_add(1, Relaxed);
            shared.publish();
        }
        Self {
            shared,
            counts,
            recovering: false,
            ended: None,
        }
    }

    fn set_recovering(&mut self) {
        self.recovering = true;
        self.shared.counters.recovering.fetch_add(1, Relaxed);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.recovering {
            self.shared.counters.recovering.fetch_sub(1, Relaxed);
        }
        if self.counts {
            self.shared.counters.in_use.fetch_sub(1, Relaxed);
            self.shared.publish();
        }
    }
}

const HELD: &str = "a checkout holds its parts until drop or close, which consume it";
const LENT: &str = "only a checkout whose slot holds a connection is lent";
