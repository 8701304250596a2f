//! A set of equal connections: a fair queue in front, bb8 behind, and counts that keep the two in step.
//!
//! Two semaphores give out two different rights, both in the order of asking. A *permit* is the right to hold a
//! connection; there are as many as the set is large. A *ticket* is the right to take an idle connection; there are as
//! many as are idle. Whoever has a permit and finds no ticket waits for the next one, whether it comes from a connection
//! that was given back or from one that was opened meanwhile. So nobody ever waits inside bb8.
//!
//! bb8 opens connections, counts them and drops them. Those that are idle stay taken out of it and lie in a stack here:
//! its own way in and out costs three locks, a time-out and three looks at the clock, more than all the rest of borrowing.

mod acquire;
mod grow;
mod spare;
mod upkeep;

use std::convert::Infallible;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::timeout;

use crate::admission::UsualHold;
use crate::backend::{Backend, Role};
use crate::error::ConnectError;
use crate::growth::Growth;
use crate::guard::close_pooled;
use crate::manager::{Kept, Manager};
use crate::registry::{Seat, SetId};
use crate::shared::Shared;

pub(crate) type Pooled<B> = bb8::PooledConnection<'static, Manager<B>>;

/// A handle on a set of connections; a cheap clone.
pub(crate) struct Slots<B: Backend>(pub(crate) Arc<Set<B>>);

pub(crate) struct Set<B: Backend> {
    pub(crate) id: SetId,
    bb8: bb8::Pool<Manager<B>>,
    permits: Semaphore,
    /// Permits that are to vanish as soon as they come back.
    debt: AtomicU32,
    tickets: Semaphore,
    /// The last one used on top. The lock is held to push and to pop, never while a connection opens or closes.
    idle: Mutex<Vec<Pooled<B>>>,
    /// The size that is meant; `overflow` more may be open while callers wait.
    size: AtomicU32,
    overflow: u32,
    reserved: AtomicU32,
    min_idle: u32,
    /// Open connections of this set, lent or idle.
    open: Arc<AtomicUsize>,
    /// Open connections that are being asked for a sign of life in the background.
    doubtful: AtomicUsize,
    /// Open connections that have been replaced and close as soon as they are idle.
    retiring: AtomicUsize,
    /// Callers without a permit.
    waiting: AtomicUsize,
    /// Callers with a permit and without a connection.
    wanting: AtomicUsize,
    growth: Mutex<Growth>,
    /// Whether a task waits for the end of a pause in `growth`.
    pausing: AtomicBool,
    replacing: AtomicBool,
    /// Tells those who wait for a ticket that connecting failed, or that the pool is closed.
    news: Notify,
    pub(crate) usual_hold: UsualHold,
    spare: tokio::sync::Mutex<Option<Kept<B::Connection>>>,
    manager: Manager<B>,
    pub(crate) shared: Arc<Shared>,
}

impl<B: Backend> Slots<B> {
    pub(crate) fn new(
        connector: &Arc<B::Connector>,
        role: Role,
        size: u32,
        min_idle: u32,
        shared: Arc<Shared>,
    ) -> Self {
        let config = &shared.config;
        let manager = || Manager {
            connector: Arc::clone(connector),
            role,
            shared: Arc::clone(&shared),
        };
        let bb8 = bb8::Pool::builder()
            // How many there may be is decided here, and can change.
            .max_size(u32::MAX / 2)
            .min_idle(None)
            .test_on_check_out(false)
            .retry_connection(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .build_unchecked(manager());
        let id = match role {
            Role::Writer => SetId::Writers,
            Role::Reader => SetId::Readers,
            Role::Lane => SetId::Apart,
        };
        let overflow = if B::SEPARATE_READERS {
            0
        } else {
            config.overflow
        };
        Self(Arc::new(Set {
            id,
            bb8,
            permits: Semaphore::new((size + overflow) as usize),
            debt: AtomicU32::new(0),
            tickets: Semaphore::new(0),
            idle: Mutex::default(),
            size: AtomicU32::new(size),
            overflow,
            reserved: AtomicU32::new(0),
            min_idle,
            open: Arc::default(),
            doubtful: AtomicUsize::new(0),
            retiring: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            wanting: AtomicUsize::new(0),
            growth: Mutex::new(Growth::new(
                config.connect_concurrency,
                fastrand::Rng::new(),
            )),
            pausing: AtomicBool::new(false),
            replacing: AtomicBool::new(false),
            news: Notify::new(),
            usual_hold: UsualHold::new(),
            spare: tokio::sync::Mutex::new(None),
            manager: manager(),
            shared,
        }))
    }

    /// Opens the first connection, and tells at once if that fails; later ones are opened on demand.
    pub(crate) async fn open_first(&self) -> Result<(), ConnectError> {
        let first = self.0.bb8.dedicated_connection().await?;
        self.0.admit(first);
        Ok(())
    }

    /// The most connections that can be lent, without overflow.
    pub(crate) fn size(&self) -> u32 {
        self.0.size.load(Relaxed)
    }

    /// Takes one connection out of what is lent, for as long as the result is kept: for connections that are not lent
    /// but count all the same. Waits for at most `patience`; without any, for nobody.
    pub(crate) async fn reserve(&self, patience: Option<Duration>) -> Option<Reserved<B>> {
        let set = &self.0;
        let permit = match patience {
            None => set.permits.try_acquire().ok()?,
            Some(limit) => timeout(limit, set.permits.acquire()).await.ok()?.ok()?,
        };
        permit.forget();
        set.reserved.fetch_add(1, AcqRel);
        let reserved = Reserved(Permit::new(Arc::clone(set)));
        set.close_surplus();
        Some(reserved)
    }

    /// Changes the size. Growing serves waiters at once; shrinking closes what is idle now and what comes back later.
    pub(crate) fn resize(&self, size: u32) {
        let set = &self.0;
        let before = set.size.swap(size, AcqRel);
        if size >= before {
            (before..size).for_each(|_| set.release());
        } else {
            set.withdraw(before - size);
        }
        set.close_surplus();
    }

    /// Connections that are being opened.
    pub(crate) fn connecting(&self) -> u32 {
        self.0.growth().connecting()
    }

    /// Whether no connection is open and none is being opened.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.open.load(Acquire) == 0 && self.connecting() == 0
    }

    /// The database is known to be back.
    #[cfg(feature = "postgres")]
    pub(crate) fn try_now(&self) {
        self.0.try_now();
    }

    /// Callers that have their turn and wait for a connection to be there.
    pub(crate) fn wanting(&self) -> usize {
        self.0.wanting.load(Relaxed)
    }

    /// Why the last attempt to connect failed; `None` after a success.
    pub(crate) fn last_connect_error(&self) -> Option<ConnectError> {
        self.0.growth().last_error().cloned()
    }

    /// Turns waiters away and closes idle connections; those in use close when they come back.
    pub(crate) fn close(&self) {
        self.0.permits.close();
        self.0.news.notify_waiters();
        self.close_idle();
    }

    pub(crate) fn close_idle(&self) {
        while let Some(idle) = self.0.pop() {
            close_pooled(idle, &self.0);
        }
        if let Ok(mut spare) = self.0.spare.try_lock() {
            *spare = None;
        }
    }
}

impl<B: Backend> Clone for Slots<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// === the two rights ===

impl<B: Backend> Set<B> {
    /// Takes an idle connection, the last one used.
    fn pop(&self) -> Option<Pooled<B>> {
        self.tickets.try_acquire().ok()?.forget();
        self.redeem()
    }

    /// Takes the idle connection that a ticket stands for. There always is one.
    fn redeem(&self) -> Option<Pooled<B>> {
        let taken = self.idle().pop();
        debug_assert!(
            taken.is_some(),
            "there is a ticket for each idle connection"
        );
        taken
    }

    /// Gives back a connection that is fit; the ticket comes after it.
    pub(crate) fn put(&self, pooled: Pooled<B>) {
        self.idle().push(pooled);
        self.tickets.add_permits(1);
    }

    /// Adds a new connection to the idle ones.
    fn admit(&self, mut kept: Kept<B::Connection>) {
        kept.join(&self.open);
        // bb8 refuses nothing: it has room, and the connection is not marked as broken. What it gives without waiting
        // is this connection, or one that another call has added a moment ago and that is this call's in exchange.
        if self.bb8.add(kept).is_ok()
            && let Some(Ok(pooled)) = self.bb8.get_owned().now_or_never()
        {
            self.put(pooled);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Pooled<B>>> {
        // Nothing panics under the lock, so a poisoned one protects as well.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a permit back.
    pub(crate) fn release(&self) {
        let paid = self.debt.load(Relaxed) > 0
            && self
                .debt
                .fetch_update(AcqRel, Acquire, |debt| debt.checked_sub(1))
                .is_ok();
        if !paid {
            self.permits.add_permits(1);
        }
    }

    /// Takes permits out of circulation; those that are out when they come back.
    fn withdraw(&self, count: u32) {
        let withdrawn = self.permits.forget_permits(count as usize);
        let rest = count.saturating_sub(u32::try_from(withdrawn).unwrap_or(u32::MAX));
        self.debt.fetch_add(rest, AcqRel);
    }

    fn is_waited_for(&self) -> bool {
        self.wanting.load(Acquire) > 0 || self.waiting.load(Acquire) > 0
    }

    /// The most connections that may be lent now.
    fn limit(&self) -> usize {
        let reserved = self.reserved.load(Relaxed);
        (self.size.load(Relaxed) + self.overflow).saturating_sub(reserved) as usize
    }

    /// Whether there are more connections than are meant to stay.
    pub(crate) fn has_surplus(&self) -> bool {
        let open = self.open.load(Acquire);
        let open = open.saturating_sub(self.retiring.load(Acquire));
        let stay = self.limit().saturating_sub(self.overflow as usize);
        open > stay && (open > self.limit() || !self.is_waited_for())
    }

    /// A connection is about to close.
    pub(crate) fn left(&self, seat: &Seat) {
        if seat.view().retired {
            self.retiring.fetch_sub(1, AcqRel);
        }
    }

    fn close_surplus(&self) {
        while self.has_surplus() {
            match self.pop() {
                Some(idle) => close_pooled(idle, self),
                None => return,
            }
        }
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        // Nothing panics under the lock, so a poisoned one protects as well.
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to hold a connection of a set; given back on drop.
pub(crate) struct Permit<B: Backend> {
    pub(crate) set: Arc<Set<B>>,
    /// Dropped last, for whoever waits for the end.
    pub(crate) ended: Option<oneshot::Sender<Infallible>>,
}

impl<B: Backend> Permit<B> {
    /// A permit must have been taken.
    fn new(set: Arc<Set<B>>) -> Self {
        Self { set, ended: None }
    }
}

impl<B: Backend> Drop for Permit<B> {
    fn drop(&mut self) {
        self.set.release();
    }
}

/// The right to a connection that is not lent.
pub(crate) struct Reserved<B: Backend>(Permit<B>);

impl<B: Backend> Drop for Reserved<B> {
    fn drop(&mut self) {
        self.0.set.reserved.fetch_sub(1, AcqRel);
    }
}
