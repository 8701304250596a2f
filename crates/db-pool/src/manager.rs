//! How bb8 opens, checks and discards our connections.
//!
//! bb8 tells nobody why a connection could not be opened. So opening never fails here: a failure is put into the
//! pool as if it were a connection, bb8 hands it to exactly one waiter, and that waiter reports it.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Condition, Role};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::observe::Recorder;
use crate::shared::Shared;

pub(crate) struct Manager<B: Backend> {
    pub(crate) connector: Arc<B::Connector>,
    pub(crate) role: Role,
    pub(crate) shared: Arc<Shared>,
}

/// What bb8 keeps: a connection, or the reason why there is none.
pub(crate) struct Managed<C> {
    pub(crate) slot: Result<C, ConnectError>,
    pub(crate) last_used: Instant,
    /// Set by whoever found the connection unusable.
    pub(crate) broken: bool,
    born: Instant,
    expires: Option<Instant>,
    generation: u64,
    counted: Option<Counted>,
    pub(crate) recorder: Arc<Recorder>,
}

impl<B: Backend> bb8::ManageConnection for Manager<B> {
    type Connection = Managed<B::Connection>;
    type Error = Infallible;

    async fn connect(&self) -> Result<Self::Connection, Infallible> {
        let started = Instant::now();
        let generation = self.shared.generation();
        let mut slot = self.open().await;
        let recorder = Recorder::new(Arc::clone(&self.shared));
        if let Ok(connection) = &mut slot {
            B::listen(connection, Arc::clone(&recorder));
        }
        self.shared.metrics.connect.record(started.elapsed());
        Ok(self.manage(slot, generation, recorder))
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), Infallible> {
        // Checked by `Slots` with a time-out of its own; bb8 would hide that it failed, and has no time-out.
        Ok(())
    }

    fn has_broken(&self, managed: &mut Self::Connection) -> bool {
        let unusable = self.shared.is_closed()
            || managed.broken
            || managed.is_outdated(&self.shared, Instant::now());
        unusable
            || match &mut managed.slot {
                Ok(connection) => B::condition(connection) != Condition::Clean,
                Err(_) => true,
            }
    }
}

impl<B: Backend> Manager<B> {
    async fn open(&self) -> Result<B::Connection, ConnectError> {
        let refused = |kind, why: &str| {
            let target = self.shared.config.shown_url();
            Err(ConnectError::with(kind, target, None, None, why.into()))
        };
        let closed = || refused(ConnectErrorKind::Other, "the pool is closed");
        if self.shared.is_closed() {
            return closed();
        }
        let opening = B::connect(&self.connector, self.role, self.shared.open_token());
        // bb8 would never give back the slot of a connect that panicked.
        let opening = AssertUnwindSafe(opening).catch_unwind();
        let limit = self.shared.config.connect_timeout;
        // Dropping an unfinished connect closes its socket, or lets its thread end.
        match timeout(limit, opening).await {
            Ok(Ok(Ok(_))) if self.shared.is_closed() => closed(),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => refused(ConnectErrorKind::Other, "connecting panicked"),
            Err(_) => refused(
                ConnectErrorKind::TimedOut,
                &format!("nothing after {limit:?}"),
            ),
        }
    }

    fn manage(
        &self,
        slot: Result<B::Connection, ConnectError>,
        generation: u64,
        recorder: Arc<Recorder>,
    ) -> Managed<B::Connection> {
        let now = Instant::now();
        let counters = &self.shared.counters;
        let counted = match &slot {
            Ok(_) => {
                counters.connects.fetch_add(1, Relaxed);
                Some(Counted::new(Arc::clone(&self.shared)))
            }
            // Refused by `open` itself.
            Err(_) if self.shared.is_closed() => None,
            Err(error) => {
                counters.connect_failures.fetch_add(1, Relaxed);
                self.shared.metrics.connect_failures.increment(1);
                tracing::warn!(pool = %self.shared.config.name, %error, "connecting failed");
                None
            }
        };
        let expires = self
            .shared
            .config
            .max_lifetime
            .map(|lifetime| now + jittered(lifetime));
        Managed {
            slot,
            last_used: now,
            broken: false,
            born: now,
            expires,
            generation,
            counted,
            recorder,
        }
    }
}

impl<C> Managed<C> {
    /// Whether the connection is too old, or older than the last change of the schema.
    pub(crate) fn is_outdated(&self, shared: &Shared, now: Instant) -> bool {
        self.generation != shared.generation() || self.expires.is_some_and(|expires| now >= expires)
    }

    pub(crate) fn is_older_than(&self, moment: Instant) -> bool {
        self.born < moment
    }

    pub(crate) fn connection(&self) -> Option<&C> {
        self.slot.as_ref().ok()
    }

    pub(crate) fn connection_mut(&mut self) -> Option<&mut C> {
        self.slot.as_mut().ok()
    }

    /// Stops counting this connection before it is dropped, so that `Status` never shows it as idle.
    pub(crate) fn uncount(&mut self) {
        self.broken = true;
        self.counted = None;
    }
}

/// Counts one connection in `Status` for as long as it lives.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: Arc<Shared>) -> Self {
        shared.counters.size.fetch_add(1, Relaxed);
        shared.publish();
        Self(shared)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.size.fetch_sub(1, Relaxed);
        self.0.publish();
    }
}

/// The lifetime less a random quarter of it.
fn jittered(lifetime: Duration) -> Duration {
    // The keys of a new `RandomState` are random; hashing nothing with them gives a random number.
    let random = RandomState::new().build_hasher().finish() as u32;
    lifetime.mul_f64(1.0 - 0.25 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_and_stay_within_a_quarter() {
        let whole = Duration::from_secs(1000);
        let drawn: Vec<_> = (0..64).map(|_| jittered(whole)).collect();
        assert!(
            drawn
                .iter()
                .all(|one| *one <= whole && *one >= whole * 3 / 4)
        );
        assert!(drawn.iter().any(|one| *one != drawn[0]));
    }
}
