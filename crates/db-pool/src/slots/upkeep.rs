//! What the housekeeper does to one set: closes, asks, replaces and refills, as `care` says.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};

use tokio::time::{Instant, timeout};

use super::{Pooled, Set, Slots};
use crate::backend::{Backend, Condition};
use crate::care::{Rules, chores};
use crate::guard::close_pooled;
use crate::registry::Seat;

impl<B: Backend> Slots<B> {
    /// Does what is due now; what takes time goes on in tasks of its own.
    pub(crate) fn upkeep(&self, now: Instant) {
        let (set, config) = (&self.0, &self.0.shared.config);
        let rules = Rules {
            idle_timeout: config.idle_timeout,
            keepalive: config.keepalive,
            min_idle: set.min_idle as usize,
            generation: set.shared.generation(),
        };
        let connections = set.shared.registry.of(set.id);
        let chores = chores(now, &connections, rules, |born| {
            set.shared.is_unrefreshed(born)
        });
        for idle in set.extract(|seat| chores.close.contains(&seat.id)) {
            close_pooled(idle, set);
        }
        // Suspended, the database is left alone.
        if !set.shared.is_suspended() {
            set.ask_all(|seat| chores.ask.contains(&seat.id));
            if !chores.replace.is_empty() {
                set.replace(chores.replace);
            }
        }
        set.close_surplus();
        if let Ok(mut spare) = set.spare.try_lock()
            && spare
                .as_ref()
                .is_some_and(|kept| now >= kept.seat.born + SPARE_LIFETIME)
        {
            *spare = None;
        }
        set.grow();
    }
}

impl<B: Backend> Set<B> {
    /// Takes the idle connections that `wanted` says, and leaves the others in their order.
    fn extract(&self, wanted: impl Fn(&Seat) -> bool) -> Vec<Pooled<B>> {
        // A connection whose ticket somebody else has taken already is that caller's.
        let take = |idle: &mut Pooled<B>| {
            wanted(&idle.seat)
                && self.tickets.try_acquire().is_ok_and(|ticket| {
                    ticket.forget();
                    true
                })
        };
        self.idle().extract_if(.., take).collect()
    }

    /// Asks every idle connection that has not been used since something went wrong, all at the same time.
    pub(super) fn ask_all_suspects(self: &Arc<Self>) {
        self.ask_all(|seat| self.shared.is_suspect(seat.view().alive));
    }

    fn ask_all(self: &Arc<Self>, wanted: impl Fn(&Seat) -> bool) {
        for mut idle in self.extract(wanted) {
            // Closed if the runtime stops in the middle.
            idle.broken = true;
            let doubt = Doubt::new(Arc::clone(self));
            self.shared
                .runtime
                .spawn(async move { doubt.settle(idle).await });
        }
    }

    /// Puts a connection back where it was: beneath those that were used later.
    fn put_in_order(&self, pooled: Pooled<B>) {
        let since = pooled.seat.view().since;
        let mut idle = self.idle();
        let at = idle.partition_point(|other| other.seat.view().since <= since);
        idle.insert(at, pooled);
        drop(idle);
        self.tickets.add_permits(1);
    }

    /// Replaces connections one after another: opens another, then closes the old one as soon as it is idle.
    fn replace(self: &Arc<Self>, old: Vec<u64>) {
        if self.replacing.swap(true, AcqRel) {
            return;
        }
        let set = Arc::clone(self);
        self.shared.runtime.spawn(async move {
            for id in old {
                let Some(new) = set.open_replacement().await else {
                    break;
                };
                if set.shared.registry.retire(id) {
                    set.retiring.fetch_add(1, AcqRel);
                }
                set.admit(new);
                for idle in set.extract(|seat| seat.id == id) {
                    close_pooled(idle, &set);
                }
            }
            set.replacing.store(false, Release);
            set.close_surplus();
        });
    }
}

/// One connection that is being asked for a sign of life in the background, counted.
struct Doubt<B: Backend>(Arc<Set<B>>);

impl<B: Backend> Doubt<B> {
    fn new(set: Arc<Set<B>>) -> Self {
        set.doubtful.fetch_add(1, AcqRel);
        Self(set)
    }

    async fn settle(self, mut idle: Pooled<B>) {
        let set = Arc::clone(&self.0);
        let limit = set.shared.config.validation_timeout;
        let answered = tokio::select! {
            biased;
            () = set.shared.closed() => false,
            answer = timeout(limit, B::ping(idle.connection_mut())) => matches!(answer, Ok(Ok(()))),
        };
        let fit = answered && B::condition(idle.connection_mut()) == Condition::Clean;
        drop(self);
        if fit && !set.shared.is_closed() {
            idle.broken = false;
            idle.seat.answered(Instant::now());
            set.put_in_order(idle);
            set.close_surplus();
            return;
        }
        if !set.shared.is_closed() {
            tracing::info!(pool = %set.shared.config.name, "an idle connection is dead");
            set.shared.suspect();
        }
        close_pooled(idle, &set);
        set.grow();
    }
}

impl<B: Backend> Drop for Doubt<B> {
    fn drop(&mut self) {
        self.0.doubtful.fetch_sub(1, AcqRel);
    }
}

/// How long the connection for health checks is kept: the next check opens another if it has to.
const SPARE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(60);
