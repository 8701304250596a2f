//! Opening connections as `growth` decides: in tasks of their own, so that they survive the callers they are for.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use tokio::time::{Instant, sleep_until};

use super::Set;
use crate::backend::Backend;
use crate::error::ConnectError;
use crate::growth::{Demand, Step};
use crate::manager::Kept;

impl<B: Backend> Set<B> {
    /// Begins to open what is wanted, as far as it may begin now.
    pub(crate) fn grow(self: &Arc<Self>) {
        // Suspended, the database is left alone.
        while self.shared.is_lending() {
            let step = self.growth().next(Instant::now(), self.demand());
            match step {
                Step::Start => self.spawn_connect(),
                Step::Wait(at) => return self.grow_at(at),
                Step::Enough => return,
            }
        }
    }

    fn demand(&self) -> Demand {
        let tickets = self.tickets.available_permits();
        let missing_idle = (self.min_idle as usize).saturating_sub(tickets);
        // Tickets that were given to a waiter who has not woken yet.
        let idle = self.idle().len();
        let served = idle.saturating_sub(tickets);
        let going = self.doubtful.load(Acquire) + self.retiring.load(Acquire);
        Demand {
            wanted: self.wanting.load(Acquire).saturating_sub(served) + missing_idle,
            open: self.open.load(Acquire).saturating_sub(going),
            limit: self.limit(),
        }
    }

    fn spawn_connect(self: &Arc<Self>) {
        let connecting = Connecting::new(Arc::clone(self));
        self.shared.runtime.spawn(async move {
            let set = Arc::clone(&connecting.set);
            if let Some(kept) = connecting.run().await {
                set.admit(kept);
                set.growth().opened();
                set.close_surplus();
            }
            set.grow();
        });
    }

    /// Looks again when a pause is over.
    fn grow_at(self: &Arc<Self>, at: Instant) {
        if self.pausing.swap(true, AcqRel) {
            return;
        }
        let set = Arc::downgrade(self);
        self.shared.runtime.spawn(async move {
            let Some(shared) = set.upgrade().map(|set| Arc::clone(&set.shared)) else {
                return;
            };
            tokio::select! {
                biased;
                () = shared.closed() => return,
                () = sleep_until(at) => {}
            }
            if let Some(set) = set.upgrade() {
                set.pausing.store(false, Release);
                set.grow();
            }
        });
    }

    /// Opens what is wanted without waiting for the end of a pause.
    #[cfg(feature = "postgres")]
    pub(crate) fn try_now(self: &Arc<Self>) {
        self.growth().try_now();
        self.grow();
    }

    /// The reason to stop waiting now, if there is no connection that could come back.
    pub(super) fn hopeless(&self, deadline: Instant) -> Option<ConnectError> {
        if self.open.load(Acquire) > 0 {
            return None;
        }
        self.growth().hopeless(Instant::now(), deadline).cloned()
    }

    /// Opens a connection that replaces another; `None` if it failed or may not be tried now.
    pub(super) async fn open_replacement(self: &Arc<Self>) -> Option<Kept<B::Connection>> {
        let step = self.growth().next_regardless(Instant::now());
        if step != Step::Start {
            return None;
        }
        let kept = Connecting::new(Arc::clone(self)).run().await?;
        self.growth().opened();
        Some(kept)
    }
}

/// One connect under way, counted by `growth`; dropped without a result it was given up.
struct Connecting<B: Backend> {
    set: Arc<Set<B>>,
    settled: bool,
}

impl<B: Backend> Connecting<B> {
    fn new(set: Arc<Set<B>>) -> Self {
        Self {
            set,
            settled: false,
        }
    }

    /// Opens a connection; the caller counts a success, when the connection is where it belongs.
    async fn run(mut self) -> Option<Kept<B::Connection>> {
        let set = Arc::clone(&self.set);
        let opened = tokio::select! {
            biased;
            () = set.shared.closed() => return None,
            opened = set.bb8.dedicated_connection() => opened,
        };
        match opened {
            Ok(kept) => {
                self.settled = true;
                Some(kept)
            }
            Err(_) if set.shared.is_closed() => None,
            Err(error) => {
                self.settled = true;
                tracing::warn!(pool = %set.shared.config.name, %error, "connecting failed");
                set.growth().failed(Instant::now(), error);
                set.news.notify_waiters();
                None
            }
        }
    }
}

impl<B: Backend> Drop for Connecting<B> {
    fn drop(&mut self) {
        if !self.settled {
            self.set.growth().abandoned();
        }
    }
}
