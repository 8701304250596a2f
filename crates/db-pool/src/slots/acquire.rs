//! Borrowing: at once if a connection is idle and fresh, else by waiting for a turn, for a connection, and for its sign
//! of life.

use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::Duration;

use tokio::sync::TryAcquireError;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::{Permit, Pooled, Set, Slots};
use crate::backend::{Backend, Condition};
use crate::error::{AcquireError, ConnectError, ConnectErrorKind};
use crate::guard::{Checkout, close_pooled};
use crate::metrics::{Count, refusal_name};
use crate::observe::{Span, slow_acquire};
use crate::scope::Scope;

impl<B: Backend> Slots<B> {
    /// Borrows a connection for `at`, within `within` or else `acquire_timeout`, and before the deadline of the scope.
    ///
    /// Cancelling: a caller dropped while queueing leaves the queue; dropped later, its permit and its connection
    /// go back. A connection being opened for it is opened all the same and serves the next caller.
    pub(crate) async fn acquire_from(
        &self,
        at: &'static Location<'static>,
        within: Option<Duration>,
    ) -> Result<Checkout<B>, AcquireError> {
        let (set, started) = (&self.0, Instant::now());
        let span = Span::acquire(&set.shared.config);
        let first = match set.try_at_once(started, at) {
            Some((checkout, Fitness::Fit)) => {
                set.shared.counters.acquired.fetch_add(1, Relaxed);
                set.shared.metrics.acquire.record(Duration::ZERO);
                return Ok(checkout);
            }
            Some((checkout, fitness)) => Some((checkout, fitness)),
            None => None,
        };
        // Most callers never get here; their future stays small.
        let asked = Asked { at, started };
        let result = Box::pin(set.acquire_with_patience(asked, within, first)).await;
        if let Err(error) = &result {
            span.failed(refusal_name(error));
        }
        result
    }
}

/// Counts a caller that went away.
struct CountDropped<'a>(Option<&'a Count>);

impl CountDropped<'_> {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for CountDropped<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.increment(1);
        }
    }
}

/// Who asks, and since when.
#[derive(Clone, Copy)]
struct Asked {
    at: &'static Location<'static>,
    started: Instant,
}

/// Whether a connection can be lent.
pub(super) enum Fitness {
    Fit,
    /// It may be dead: ask.
    Doubtful,
    Unfit,
}

impl<B: Backend> Set<B> {
    /// Takes an idle connection if there is one and it is nobody else's turn.
    pub(super) fn try_at_once(
        self: &Arc<Self>,
        now: Instant,
        at: &'static Location<'static>,
    ) -> Option<(Checkout<B>, Fitness)> {
        if !self.shared.is_lending() {
            return None;
        }
        // Neither overtakes: freed rights belong to the queue before anybody can try for them.
        let permit = self.permits.try_acquire().ok()?;
        let ticket = self.tickets.try_acquire().ok()?;
        ticket.forget();
        permit.forget();
        let permit = Permit::new(Arc::clone(self));
        let pooled = self.redeem()?;
        Some(self.lend(pooled, permit, now, at))
    }

    /// Marks a connection as held and looks at it; asks it nothing.
    fn lend(
        &self,
        pooled: Pooled<B>,
        permit: Permit<B>,
        now: Instant,
        at: &'static Location<'static>,
    ) -> (Checkout<B>, Fitness) {
        let (alive, retired) = pooled.seat.lend(now, at);
        let mut checkout = Checkout::new(pooled, permit, at, now);
        let (shared, managed) = (&self.shared, checkout.managed_mut());
        let unfit = retired
            || managed.is_outdated(shared, now)
            || B::condition(managed.connection_mut()) != Condition::Clean;
        let fitness = if unfit {
            Fitness::Unfit
        } else if now.saturating_duration_since(alive) >= shared.config.validate_after_idle
            || shared.is_suspect(alive)
        {
            Fitness::Doubtful
        } else {
            Fitness::Fit
        };
        (checkout, fitness)
    }

    async fn acquire_with_patience(
        self: &Arc<Self>,
        asked: Asked,
        within: Option<Duration>,
        first: Option<(Checkout<B>, Fitness)>,
    ) -> Result<Checkout<B>, AcquireError> {
        let limit = within.unwrap_or(self.shared.config.acquire_timeout);
        let mut deadline = asked.started + limit;
        if let Some(end) = Scope::current().and_then(|scope| scope.deadline()) {
            deadline = deadline.min(end);
        }
        let cancelled = CountDropped(Some(&self.shared.metrics.acquire_cancelled));
        let result = self.acquire_by(asked, deadline, first).await;
        cancelled.defuse();
        self.account(asked, &result);
        result
    }

    async fn acquire_by(
        self: &Arc<Self>,
        asked: Asked,
        deadline: Instant,
        mut found: Option<(Checkout<B>, Fitness)>,
    ) -> Result<Checkout<B>, AcquireError> {
        loop {
            // Cancel-safe: until a connection is there only the permit is held, afterwards the checkout holds both.
            let (checkout, fitness) = match found.take() {
                Some(found) => found,
                None => {
                    let permit = self.turn(asked, deadline).await?;
                    self.find(asked, deadline, permit).await?
                }
            };
            let permit = match self.judge(checkout, fitness, deadline).await? {
                Judged::Fit(checkout) => return Ok(checkout),
                Judged::Closed(permit) => permit,
            };
            if Instant::now() >= deadline {
                let waited = asked.started.elapsed();
                return Err(AcquireError::ValidationFailed { waited });
            }
            found = Some(self.find(asked, deadline, permit).await?);
        }
    }

    /// Waits for a permit, in the order of asking.
    async fn turn(
        self: &Arc<Self>,
        asked: Asked,
        deadline: Instant,
    ) -> Result<Permit<B>, AcquireError> {
        match self.permits.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(AcquireError::Closed),
            Err(TryAcquireError::NoPermits) => {
                let _waiting = Waiting::join(self, deadline)?;
                // Cancel-safe: a dropped waiter leaves the queue, and a permit already given to it passes on.
                match timeout_at(deadline, self.permits.acquire()).await {
                    Ok(Ok(permit)) => permit.forget(),
                    Ok(Err(_closed)) => return Err(AcquireError::Closed),
                    Err(_) => return Err(self.out_of_time(asked, deadline)),
                }
            }
        }
        Ok(Permit::new(Arc::clone(self)))
    }

    /// Takes an idle connection, or waits for the next one to be given back or opened; not while the pool is suspended.
    async fn find(
        self: &Arc<Self>,
        asked: Asked,
        deadline: Instant,
        permit: Permit<B>,
    ) -> Result<(Checkout<B>, Fitness), AcquireError> {
        loop {
            if self.shared.is_suspended()
                && timeout_at(deadline, self.shared.resumed()).await.is_err()
            {
                return Err(self.out_of_time(asked, deadline));
            }
            let pooled = match self.pop() {
                Some(pooled) => pooled,
                None => self.wait_for_ticket(asked, deadline).await?,
            };
            if self.shared.is_closed() {
                close_pooled(pooled, self);
                return Err(AcquireError::Closed);
            }
            if !self.shared.is_suspended() {
                return Ok(self.lend(pooled, permit, Instant::now(), asked.at));
            }
            self.put(pooled);
        }
    }

    async fn wait_for_ticket(
        self: &Arc<Self>,
        asked: Asked,
        deadline: Instant,
    ) -> Result<Pooled<B>, AcquireError> {
        let _wanting = Wanting::new(self);
        let mut too_late = pin!(sleep_until(deadline));
        let mut ticket = pin!(self.tickets.acquire());
        loop {
            let mut news = pin!(self.news.notified());
            // From here on no news is missed, so what is looked at below is not older than the wait.
            news.as_mut().enable();
            if self.shared.is_closed() {
                return Err(AcquireError::Closed);
            }
            self.grow();
            if let Some(error) = self.hopeless(deadline) {
                return Err(error.into());
            }
            tokio::select! {
                biased;
                // Cancel-safe: a ticket already given to a dropped waiter passes on.
                taken = &mut ticket => {
                    if let Ok(taken) = taken {
                        taken.forget();
                        if let Some(pooled) = self.redeem() {
                            return Ok(pooled);
                        }
                    }
                    ticket.set(self.tickets.acquire());
                }
                () = &mut too_late => return Err(self.out_of_time(asked, deadline)),
                () = news => {}
                // A caller that took an idle connection a moment ago can look like a waiter that was served.
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Asks a connection for a sign of life if that is due, and closes it if it cannot be lent.
    pub(super) async fn judge(
        self: &Arc<Self>,
        mut checkout: Checkout<B>,
        fitness: Fitness,
        deadline: Instant,
    ) -> Result<Judged<B>, AcquireError> {
        match fitness {
            Fitness::Fit => return Ok(Judged::Fit(checkout)),
            Fitness::Unfit => return Ok(Judged::Closed(checkout.close())),
            Fitness::Doubtful => {}
        }
        let config = &self.shared.config;
        let limit = config
            .validation_timeout
            .min(deadline.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        // Cancelling here leaves an unanswered question behind; the checkout then repairs the connection.
        let answer = timeout(limit, B::ping(checkout.connection_mut())).await;
        let now = Instant::now();
        self.shared
            .metrics
            .validate
            .record(now.duration_since(asked));
        match answer {
            Ok(Ok(())) => {
                checkout.managed_mut().seat.answered(now);
                Ok(Judged::Fit(checkout))
            }
            failed => {
                let timed_out = failed.is_err();
                tracing::info!(pool = %config.name, timed_out, "an idle connection is dead");
                self.shared.suspect();
                if timed_out {
                    // The others would take as long, one after another.
                    self.ask_all_suspects();
                }
                Ok(Judged::Closed(checkout.close()))
            }
        }
    }

    /// What to tell somebody who has waited until now.
    fn out_of_time(&self, asked: Asked, deadline: Instant) -> AcquireError {
        let now = Instant::now();
        let waited = now.duration_since(asked.started);
        if self.shared.is_suspended() {
            return AcquireError::Suspended { waited };
        }
        let holders = self
            .shared
            .registry
            .holders(Some(self.id), now, SHOWN_HOLDERS);
        let last_connect_error = self.growth().last_error().cloned();
        if holders.is_empty() {
            tracing::debug!(?waited, late = ?now.saturating_duration_since(deadline), "no connection opened in time");
            let target = || self.shared.config.shown_url();
            return last_connect_error
                .unwrap_or_else(|| ConnectError::new(ConnectErrorKind::TimedOut, target()))
                .into();
        }
        let held_by_caller = self.shared.registry.held_by_this_task(self.id);
        if let Some(at) = held_by_caller {
            let pool = &self.shared.config.name;
            tracing::warn!(%pool, held_since = %at, "a task that holds a connection waited for another; tasks that do so can wait for each other for ever");
        }
        AcquireError::Exhausted {
            waited,
            max_size: u32::try_from(self.limit()).unwrap_or(u32::MAX),
            holders,
            held_by_caller,
            last_connect_error,
        }
    }

    fn account(&self, asked: Asked, result: &Result<Checkout<B>, AcquireError>) {
        let (shared, waited) = (&self.shared, asked.started.elapsed());
        shared.metrics.acquire.record(waited);
        match result {
            Ok(_) => {
                shared.counters.acquired.fetch_add(1, Relaxed);
                slow_acquire(shared, waited, asked.at);
            }
            Err(error) => {
                if error.is_timeout() {
                    shared.counters.timeouts.fetch_add(1, Relaxed);
                }
                shared.metrics.refused(error);
            }
        }
    }
}

pub(super) enum Judged<B: Backend> {
    Fit(Checkout<B>),
    /// Closed; the permit is for another attempt.
    Closed(Permit<B>),
}

/// A place in the queue, counted; given up on drop.
struct Waiting<'a, B: Backend>(&'a Set<B>);

impl<'a, B: Backend> Waiting<'a, B> {
    fn join(set: &'a Set<B>, deadline: Instant) -> Result<Self, AcquireError> {
        let ahead = set.waiting.fetch_add(1, AcqRel);
        let all = set.shared.counters.waiting.fetch_add(1, AcqRel);
        let this = Self(set);
        let config = &set.shared.config;
        if all >= config.max_waiting as usize {
            return Err(AcquireError::Overloaded { waiting: all });
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let size = u32::try_from(set.limit()).unwrap_or(u32::MAX);
        if let Some(predicted) = set.usual_hold.wait(ahead, size)
            && predicted > remaining
        {
            return Err(AcquireError::DeadlineTooClose {
                predicted,
                remaining,
            });
        }
        Ok(this)
    }
}

impl<B: Backend> Drop for Waiting<'_, B> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, AcqRel);
        self.0.shared.counters.waiting.fetch_sub(1, AcqRel);
    }
}

/// A caller with a permit and without a connection, counted.
struct Wanting<'a, B: Backend>(&'a Set<B>);

impl<'a, B: Backend> Wanting<'a, B> {
    fn new(set: &'a Set<B>) -> Self {
        set.wanting.fetch_add(1, AcqRel);
        Self(set)
    }
}

impl<B: Backend> Drop for Wanting<'_, B> {
    fn drop(&mut self) {
        self.0.wanting.fetch_sub(1, AcqRel);
    }
}

/// How often a waiter makes sure that a connection is on its way.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many holders an error names.
const SHOWN_HOLDERS: usize = 8;
