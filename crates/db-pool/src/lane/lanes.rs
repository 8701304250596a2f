//! The lines of one pool: opened when they are needed, replaced when they are lost, old or stuck, and closed.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::board::Want;
use super::desk::{Desk, Place, Refused};
use super::learned::Learned;
use super::line::Line;
use super::shared::SharedLane;
use crate::backend::Backend;
use crate::error::{AcquireError, ConnectError};
use crate::manager::Manager;
use crate::registry::SetId;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::slots::Slots;

/// All that lanes of one pool share.
pub(crate) struct Lanes<B: Backend> {
    shared: Arc<Shared>,
    manager: Manager<B>,
    /// A line takes one connection out of them for as long as it is open.
    slots: Slots<B>,
    /// How many lines there may be.
    lines_max: usize,
    pub(super) desk: Arc<Desk>,
    pub(super) learned: Arc<Learned>,
    set: Mutex<Arc<Set<B>>>,
    opening: AtomicUsize,
    next_id: AtomicU64,
}

/// The lines that took new statements at one time.
pub(crate) struct Set<B: Backend>(Vec<Arc<Line<B>>>);

impl<B: Backend> Set<B> {
    pub(super) fn line(&self, id: u64) -> Option<&Arc<Line<B>>> {
        self.0.iter().find(|line| line.id == id)
    }
}

impl<B: Backend> Lanes<B> {
    /// Opens nothing yet.
    pub(crate) fn new(
        manager: Manager<B>,
        slots: Slots<B>,
        lines_max: usize,
        learned: Arc<Learned>,
    ) -> Arc<Self> {
        let shared = Arc::clone(&manager.shared);
        let config = &shared.config;
        let desk = Desk::new(config.lane_depth, config.max_waiting as usize);
        Arc::new(Self {
            shared,
            manager,
            slots,
            lines_max,
            desk,
            learned,
            set: Mutex::new(Arc::new(Set(Vec::new()))),
            opening: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
        })
    }

    /// A lane with a place for one statement.
    ///
    /// Cancelling: a caller dropped while queueing leaves the queue; dropped later, its place goes back.
    pub(crate) async fn read(self: &Arc<Self>) -> Result<SharedLane<B>, AcquireError> {
        let started = Instant::now();
        loop {
            if self.shared.is_closed() {
                return Err(AcquireError::Closed);
            }
            if self.shared.is_suspended() {
                let waited = started.elapsed();
                return Err(AcquireError::Suspended { waited });
            }
            self.tend(Instant::now());
            let place = match self.desk.take(Want::Any) {
                Some(place) => place,
                None => Arc::clone(self).queue(Want::Any, started).await?,
            };
            let set = self.current();
            // Retired since, if it is not there; then its place goes back and another line's is taken.
            let Some(line) = set.line(place.line()) else {
                continue;
            };
            if line.is_doubtful(Instant::now()) && !self.answers(line).await {
                continue;
            }
            self.shared
                .counters
                .acquired
                .fetch_add(1, Ordering::Relaxed);
            return Ok(SharedLane::new(Arc::clone(self), set, place));
        }
    }

    pub(super) fn current(&self) -> Arc<Set<B>> {
        Arc::clone(&self.set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_set(&self, change: impl FnOnce(&mut Vec<Arc<Line<B>>>)) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = set.0.clone();
        change(&mut lines);
        *set = Arc::new(Set(lines));
    }

    /// How long a statement must usually take to be kept apart.
    pub(super) fn slow(&self) -> Duration {
        self.shared.config.lane_slow
    }

    /// Whether slow statements can be kept apart.
    pub(super) fn separates(&self) -> bool {
        self.lines_max > 1
    }

    /// Waits for a place, in the order of asking, for at most `acquire_timeout`.
    pub(super) async fn queue(
        self: Arc<Self>,
        want: Want,
        started: Instant,
    ) -> Result<Place, AcquireError> {
        let config = &self.shared.config;
        let mut deadline = started + config.acquire_timeout;
        if let Some(end) = Scope::current().and_then(|scope| scope.deadline()) {
            deadline = deadline.min(end);
        }
        // Cancel-safe: dropping the receiver leaves the queue, and a place already sent to it goes back.
        let mut waiting = match self.desk.take_or_wait(want) {
            Ok(Ok(place)) => return Ok(place),
            Ok(Err(waiting)) => waiting,
            Err(waiting) => return Err(AcquireError::Overloaded { waiting }),
        };
        let _counted = Waits::new(&self.shared);
        self.tend(Instant::now());
        loop {
            let until = deadline.min(Instant::now() + self.stuck_after());
            match timeout_at(until, &mut waiting).await {
                Ok(Ok(Ok(place))) => return Ok(place),
                Ok(Ok(Err(refused))) => return Err(refused.into()),
                Ok(Err(_gone)) => return Err(AcquireError::Closed),
                Err(_) if Instant::now() >= deadline => {
                    self.shared
                        .counters
                        .timeouts
                        .fetch_add(1, Ordering::Relaxed);
                    return Err(AcquireError::Exhausted {
                        waited: started.elapsed(),
                        max_size: self.lines_max as u32,
                        holders: Vec::new(),
                        held_by_caller: None,
                        last_connect_error: None,
                    });
                }
                // Nobody else may look whether a line is stuck.
                Err(_) => self.tend(Instant::now()),
            }
        }
    }

    /// Retires the lines that should take no new statements, and opens another where one is wanted.
    pub(crate) fn tend(self: &Arc<Self>, now: Instant) {
        let set = self.current();
        let fit = |line: &Arc<Line<B>>| line.fault().is_none() && !line.is_outdated(now);
        // An old line works until there is another to take over.
        let relieved = set.0.iter().any(fit);
        for line in &set.0 {
            let why = if line.fault().is_some() {
                "lost"
            } else if relieved && line.is_outdated(now) {
                "outdated"
            } else if line.pace.head_age(now) > self.stuck_after() {
                "stuck"
            } else {
                continue;
            };
            self.retire(line, why);
        }
        self.grow(!relieved);
    }

    fn stuck_after(&self) -> Duration {
        self.shared.config.lane_slow * STUCK_FACTOR
    }

    /// Asks for a sign of life; retires the line if there is none.
    async fn answers(self: &Arc<Self>, line: &Arc<Line<B>>) -> bool {
        let limit = self.shared.config.validation_timeout;
        let answered = timeout(limit, B::ping_shared(line.connection())).await;
        if matches!(answered, Ok(Ok(()))) {
            line.pace.answered(Instant::now());
            return true;
        }
        self.shared.suspect();
        self.retire(line, "dead");
        line.hang_up();
        false
    }

    // === opening ===

    /// Opens another line if that helps, or in any case to have one that is fit.
    fn grow(self: &Arc<Self>, needed: bool) {
        if self.shared.is_closed() {
            return;
        }
        let (open, wanted) = self
            .desk
            .look(|board| (board.open_lines(), board.wants_another()));
        let opening = self.opening.load(Ordering::Acquire);
        // One at a time: the next is opened when it turns out to be needed still.
        let useful = wanted && open < self.lines_max;
        let unwanted = opening > 0 || !(needed || useful);
        if unwanted
            || self
                .opening
                .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire)
                .is_err()
        {
            return;
        }
        self.desk.expect(true);
        let ticket = Opening(Arc::clone(self));
        // On a task of its own, so that it survives the caller who caused it.
        self.shared.runtime.spawn(async move {
            let lanes = Arc::clone(&ticket.0);
            let result = lanes.open_line(open == 0).await;
            drop(ticket);
            if let Err(error) = result {
                lanes.desk.dismiss(&Refused::NotOpened(error));
            }
        });
    }

    /// Opens one line; without one that is open already, patiently.
    async fn open_line(self: &Arc<Self>, patient: bool) -> Result<(), ConnectError> {
        // Another line beside those that work is not worth waiting for.
        let patience = patient.then_some(self.shared.config.acquire_timeout);
        let Some(permit) = self.slots.reserve(patience).await else {
            return Ok(());
        };
        let managed = self.manager.open(SetId::Apart).await?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line::new(id, managed, permit, Arc::clone(&self.shared)));
        tracing::debug!(pool = %self.shared.config.name, line = id, "lane opened");
        self.admit(&line);
        if self.shared.is_closed() {
            self.retire(&line, "closed");
        }
        Ok(())
    }

    fn admit(&self, line: &Arc<Line<B>>) {
        // In the set first: whoever is given a place looks for its line there.
        self.change_set(|lines| lines.push(Arc::clone(line)));
        self.desk.open(line.id);
    }

    // === closing ===

    /// Turns waiters away; lines close when what is under way on them is over.
    pub(crate) fn close(self: &Arc<Self>) {
        self.desk.dismiss(&Refused::Closed);
        for line in &self.current().0 {
            self.retire(line, "closed");
        }
    }

    /// The line takes no new statements, and is closed when it is drained.
    fn retire(self: &Arc<Self>, line: &Arc<Line<B>>, why: &'static str) {
        if !self.desk.look(|board| board.shut(line.id)) {
            return;
        }
        self.change_set(|lines| lines.retain(|other| other.id != line.id));
        tracing::debug!(pool = %self.shared.config.name, line = line.id, why, "lane retired");
        let lanes = Arc::downgrade(self);
        let desk = Arc::clone(&self.desk);
        let config = &self.shared.config;
        let limit = if self.shared.is_closed() {
            config.close_timeout
        } else {
            config.lane_statement_timeout + config.recovery_timeout
        };
        self.shared
            .runtime
            .spawn(bury(lanes, desk, Arc::clone(line), limit));
    }

    /// Takes a line back that was only stuck for a while, if there is no other yet.
    fn reinstate(&self, line: &Arc<Line<B>>) -> bool {
        let now = Instant::now();
        let healthy = line.fault().is_none() && !line.is_outdated(now) && !self.shared.is_closed();
        let missed = self.opening.load(Ordering::Acquire) == 0
            && self.desk.look(|board| board.open_lines()) < self.lines_max;
        if healthy && missed {
            self.admit(line);
        }
        healthy && missed
    }
}

/// Closes a line once it is drained, or after `limit`.
async fn bury<B: Backend>(
    lanes: Weak<Lanes<B>>,
    desk: Arc<Desk>,
    line: Arc<Line<B>>,
    limit: Duration,
) {
    let drained = async {
        loop {
            let mut told = std::pin::pin!(desk.drained.notified());
            told.as_mut().enable();
            if desk.look(|board| board.is_drained(line.id)) || line.fault().is_some() {
                return;
            }
            told.await;
        }
    };
    let in_time = timeout(limit, drained).await.is_ok();
    if in_time && lanes.upgrade().is_some_and(|lanes| lanes.reinstate(&line)) {
        return;
    }
    line.hang_up();
    desk.remove(line.id);
}

/// One line is being opened.
struct Opening<B: Backend>(Arc<Lanes<B>>);

impl<B: Backend> Drop for Opening<B> {
    fn drop(&mut self) {
        self.0.opening.store(0, Ordering::Release);
        self.0.desk.expect(false);
    }
}

/// Counts somebody who waits.
struct Waits<'a>(&'a Shared);

impl<'a> Waits<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.counters.waiting.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.counters.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl From<Refused> for AcquireError {
    fn from(refused: Refused) -> Self {
        match refused {
            // Bound to a lane, somebody waited for a second statement.
            Refused::Closed | Refused::Lost => Self::Closed,
            Refused::NotOpened(error) => error.into(),
        }
    }
}

/// A line whose oldest statement is so many times as old as a slow one takes no new ones.
const STUCK_FACTOR: u32 = 10;
