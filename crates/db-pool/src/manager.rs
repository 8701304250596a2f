//! How bb8 opens and discards our connections, and what is kept beside each of them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use crate::backend::{Backend, Role};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::observe::Recorder;
use crate::registry::{Lifetime, Seat, SetId};
use crate::shared::Shared;

/// bb8 never opens a connection of its own accord: nobody asks it for one before there is one. When to open is decided
/// by `growth`, since bb8 would open as many at once as callers wait, retry blindly, and tell nobody why it failed.
pub(crate) struct Manager<B: Backend> {
    pub(crate) connector: Arc<B::Connector>,
    pub(crate) role: Role,
    pub(crate) shared: Arc<Shared>,
}

/// A connection and what the pool knows of it; boxed, as it moves a few times for each borrower.
pub(crate) type Kept<C> = Box<Managed<C>>;

pub(crate) struct Managed<C> {
    connection: C,
    /// Set by whoever found the connection unusable.
    pub(crate) broken: bool,
    pub(crate) seat: Arc<Seat>,
    counted: Option<Counted>,
    pub(crate) recorder: Arc<Recorder>,
}

impl<B: Backend> bb8::ManageConnection for Manager<B> {
    type Connection = Kept<B::Connection>;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, ConnectError> {
        let set = match self.role {
            Role::Writer => SetId::Writers,
            Role::Reader => SetId::Readers,
            Role::Lane => SetId::Apart,
        };
        self.open(set).await.map(Box::new)
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), ConnectError> {
        // Checked by `Slots` with a time-out of its own; bb8 would hide that it failed, and has no time-out.
        Ok(())
    }

    fn has_broken(&self, managed: &mut Self::Connection) -> bool {
        // Whoever gives a connection back has looked at it; looking again could come to another result, and then the
        // count of idle connections would be wrong.
        managed.broken
    }
}

impl<B: Backend> Manager<B> {
    /// Opens a connection within `connect_timeout`. A failure is counted, but not logged.
    pub(crate) async fn open(&self, set: SetId) -> Result<Managed<B::Connection>, ConnectError> {
        let (shared, started) = (&self.shared, Instant::now());
        let generation = shared.generation();
        let recorder = Recorder::new(Arc::clone(shared));
        if self.role != Role::Writer {
            recorder.reads_only();
        }
        let opened = self.connect_in_time(&recorder).await;
        shared.metrics.connect.record(started.elapsed());
        let counter = match &opened {
            Ok(_) => {
                shared.metrics.created.increment(1);
                &shared.counters.connects
            }
            // Refused because the pool is closed.
            Err(_) if shared.is_closed() => {
                return Err(opened.err().unwrap_or_else(|| self.closed()));
            }
            Err(_) => {
                shared.metrics.connect_failures.increment(1);
                #[cfg(feature = "postgres")]
                shared.alarm.raise();
                &shared.counters.connect_failures
            }
        };
        counter.fetch_add(1, Relaxed);
        let connection = opened?;
        let now = Instant::now();
        let lifetime = shared.config.max_lifetime;
        let seat = shared.registry.open(
            set,
            generation,
            now,
            lifetime.map(|whole| lifetime_from(now, whole)),
        );
        Ok(Managed {
            connection,
            broken: false,
            counted: Some(Counted {
                shared: Arc::clone(shared),
                id: seat.id,
                open: None,
            }),
            seat,
            recorder,
        })
    }

    async fn connect_in_time(
        &self,
        recorder: &Arc<Recorder>,
    ) -> Result<B::Connection, ConnectError> {
        if self.shared.is_closed() {
            return Err(self.closed());
        }
        let opening = async {
            let token = self.shared.open_token();
            let mut connection = B::connect(&self.connector, self.role, token).await?;
            // Calls what the user has set as diesel's default instrumentation.
            B::listen(&mut connection, Arc::clone(recorder));
            Ok(connection)
        };
        let opening = AssertUnwindSafe(opening).catch_unwind();
        let limit = self.shared.config.connect_timeout;
        // Dropping an unfinished connect closes its socket, or lets its thread end.
        match timeout(limit, opening).await {
            Ok(Ok(Ok(_))) if self.shared.is_closed() => Err(self.closed()),
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(self.refused(ConnectErrorKind::Other, "connecting panicked")),
            Err(_) => {
                let why = format!("nothing after {limit:?}");
                Err(self.refused(ConnectErrorKind::TimedOut, &why))
            }
        }
    }

    fn closed(&self) -> ConnectError {
        self.refused(ConnectErrorKind::Other, "the pool is closed")
    }

    fn refused(&self, kind: ConnectErrorKind, why: &str) -> ConnectError {
        let target = self.shared.config.shown_url();
        ConnectError::with(kind, target, None, None, why.into())
    }
}

impl<C> Managed<C> {
    /// Whether the connection must not be lent any more: too old, or older than the last change of the schema.
    pub(crate) fn is_outdated(&self, shared: &Shared, now: Instant) -> bool {
        let too_old = self
            .seat
            .lifetime
            .is_some_and(|lifetime| now >= lifetime.ends);
        too_old || self.seat.generation != shared.generation()
    }

    pub(crate) fn connection(&self) -> &C {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Counts the connection as one of a set, until it is closed.
    pub(crate) fn join(&mut self, open: &Arc<AtomicUsize>) {
        if let Some(counted) = &mut self.counted {
            open.fetch_add(1, AcqRel);
            counted.open = Some(Arc::clone(open));
        }
    }

    /// Stops counting this connection before it is dropped, so that `Status` never shows it as idle.
    pub(crate) fn uncount(&mut self) {
        self.broken = true;
        self.counted = None;
    }
}

/// Counts one connection for as long as it lives.
struct Counted {
    shared: Arc<Shared>,
    id: u64,
    open: Option<Arc<AtomicUsize>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.registry.close(self.id);
        if let Some(open) = &self.open {
            debug_assert!(open.load(Acquire) > 0, "counted by `join`");
            open.fetch_sub(1, AcqRel);
        }
    }
}

/// To be replaced at a random moment of the last quarter, so that connections opened together do not end together.
fn lifetime_from(now: Instant, whole: Duration) -> Lifetime {
    Lifetime {
        replace_at: now + whole.mul_f64(1.0 - 0.25 * fastrand::f64()),
        ends: now + whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_and_stay_within_a_quarter() {
        let (now, whole) = (Instant::now(), Duration::from_secs(1000));
        let drawn: Vec<_> = (0..64)
            .map(|_| lifetime_from(now, whole).replace_at - now)
            .collect();
        assert!(
            drawn
                .iter()
                .all(|one| *one <= whole && *one >= whole * 3 / 4)
        );
        assert!(drawn.iter().any(|one| *one != drawn[0]));
    }
}
