//! The handle that everybody shares: one lock around the pure state, and one wake-up per change.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::{BuildHasher, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, time::Instant};

use crate::{
    Cursor, Health, ProgressConfig, Readiness, Snapshot, Step, Update,
    health::Check,
    life::Change,
    state::{NewStep, State, StepId},
};

/// The progress of one start of a service; a cheap clone of a shared state.
///
/// Whoever does something announces a [`Step`]; the service says when it is
/// [`ready`](Self::ready); anybody reads [`snapshot`](Self::snapshot)s or follows the
/// [`changed`](Self::changed) numbers. No call blocks for longer than a short lock, and nothing
/// here spawns a task.
#[derive(Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

struct Shared {
    /// The durations given to the state are counted from here.
    began: Instant,
    // Never held across an await, nor while foreign code (a check) runs.
    state: Mutex<State>,
    checks: Mutex<Vec<Check>>,
    /// The number of the newest change; readers wait on it.
    seq: watch::Sender<u64>,
}

impl Progress {
    /// A new run of the service called `service`, with the default bounds.
    #[must_use]
    pub fn new(service: impl AsRef<str>) -> Self {
        Self::with_config(service, ProgressConfig::default())
    }

    /// A new run with bounds of your own.
    #[must_use]
    pub fn with_config(service: impl AsRef<str>, config: ProgressConfig) -> Self {
        // A clock before 1970 gives 0: the wall clock is only shown, never calculated with.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let started_at_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        let state = State::new(
            service.as_ref(),
            run_id(started_at_ms),
            started_at_ms,
            config,
        );
        Self {
            shared: Arc::new(Shared {
                began: Instant::now(),
                state: Mutex::new(state),
                checks: Mutex::new(Vec::new()),
                seq: watch::Sender::new(0),
            }),
        }
    }

    // === steps ===

    /// Begins a step; it is open until the returned guard says how it ended.
    ///
    /// Past [`steps_max`](ProgressConfig::steps_max) the guard works, but nothing is stored.
    pub fn step(&self, name: impl AsRef<str>) -> Step {
        let new = NewStep {
            name: name.as_ref(),
            ..NewStep::default()
        };
        let id = self.update(|state, now| {
            let id = state.announce(&new);
            if let Some(id) = id {
                state.change(id, &Change::Begin, now);
            }
            id
        });
        Step::new(self.clone(), id)
    }

    /// Announces a step that has not begun.
    #[cfg(feature = "init-graph")]
    pub(crate) fn announce(&self, new: &NewStep<'_>) -> Option<StepId> {
        self.update(|state, _| state.announce(new))
    }

    pub(crate) fn change(&self, id: StepId, change: &Change<'_>) {
        self.update(|state, now| state.change(id, change, now));
    }

    // === readiness ===

    /// Says that the service takes traffic; returns whether the move was legal.
    ///
    /// This is the only way to become ready: a graph that has started is not yet a service that
    /// listens. Repeated or after `drain`/`fail` it changes nothing.
    pub fn ready(&self) -> bool {
        self.become_(Readiness::Ready, None)
    }

    /// Says that the service takes nothing new; ends the streams, so that they do not hold up the
    /// shutdown. Returns whether the move was legal; a failed service stays failed.
    pub fn drain(&self) -> bool {
        self.become_(Readiness::Draining, None)
    }

    /// Says that the service cannot start or go on; ends the streams. Returns whether the move was
    /// legal: the first reason stays, and a draining service stays draining.
    pub fn fail(&self, reason: impl fmt::Display) -> bool {
        self.become_(Readiness::Failed, Some(&reason.to_string()))
    }

    fn become_(&self, next: Readiness, reason: Option<&str>) -> bool {
        let (moved, took) = self.update(|state, now| (state.become_(next, reason, now), now));
        if moved {
            let took_ms = took.as_millis();
            tracing::info!(
                readiness = next.as_str(),
                reason,
                took_ms,
                "readiness changed"
            );
        }
        moved
    }

    /// Whether the service may get traffic, by its own word alone; checks are not asked.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.state().readiness()
    }

    /// Waits until the readiness fulfils `wanted` and returns it; at once if it does already.
    ///
    /// There is no time limit: wrap it in a timeout, and remember that `Ready` may never come, so
    /// ask for `|r| r != Readiness::Starting`. Cancel safe.
    pub async fn wait_for(&self, mut wanted: impl FnMut(Readiness) -> bool) -> Readiness {
        let mut seq = self.shared.seq.subscribe();
        loop {
            seq.mark_unchanged();
            let readiness = self.readiness();
            if wanted(readiness) {
                return readiness;
            }
            // Dropping this future here loses nothing: the state is read anew by the next call.
            if seq.changed().await.is_err() {
                return self.readiness();
            }
        }
    }

    // === checks ===

    /// Registers a health check; returns `false` when [`checks_max`](ProgressConfig::checks_max)
    /// is reached.
    ///
    /// It is called by every [`snapshot`](Self::snapshot) (so by each `/readyz` and `/startup`), by
    /// a stream that opens and by its heartbeats. The closure runs on the caller's task: let it
    /// read a status that something else keeps, not do work, and do not let it ask this `Progress`
    /// for a snapshot, which would ask the check again. A second check of a name replaces the
    /// first; a check that panics has failed.
    pub fn check(
        &self,
        name: impl AsRef<str>,
        probe: impl Fn() -> Health + Send + Sync + 'static,
    ) -> bool {
        let (name, checks_max) = {
            let state = self.state();
            (state.config().cut(name.as_ref()), state.config().checks_max)
        };
        let mut checks = lock(&self.shared.checks);
        let known = checks.iter().position(|check| *check.name == *name);
        match known {
            Some(index) => {
                let replaced = std::mem::replace(&mut checks[index], Check::new(&name, probe));
                // Foreign code may run when the old closure drops, and it may ask for this lock.
                drop(checks);
                drop(replaced);
            }
            None if checks.len() < checks_max => checks.push(Check::new(&name, probe)),
            None => {
                tracing::warn!(check = name, checks_max, "health check refused: too many");
                return false;
            }
        }
        true
    }

    /// Asks every check now and stores what is new.
    pub(crate) fn ask_checks(&self) {
        let checks = lock(&self.shared.checks).clone();
        let answers: Vec<_> = checks
            .iter()
            .map(|check| (&check.name, check.ask()))
            .collect();
        for (name, answer) in &answers {
            self.update(|state, _| state.record_check(name, answer));
        }
    }

    // === reading ===

    /// The whole state now; asks the checks.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.ask_checks();
        self.peek()
    }

    /// The whole state now, with the checks as they last answered.
    pub(crate) fn peek(&self) -> Snapshot {
        let now = self.now();
        self.state().snapshot(now)
    }

    /// What a client at `cursor` has missed: `None` when nothing, a snapshot for a client without
    /// a cursor (or with one of another run), otherwise the items that changed since.
    ///
    /// Checks are as they last answered.
    #[must_use]
    pub fn update_since(&self, cursor: Option<&Cursor>) -> Option<Update> {
        let now = self.now();
        self.state().since(cursor, now)
    }

    /// Waits for a change after the number `since` and returns the newest number.
    ///
    /// Returns at once if there was one already, so no change is missed between two calls. There
    /// is no time limit. Cancel safe.
    pub async fn changed(&self, since: u64) -> u64 {
        let mut seq = self.shared.seq.subscribe();
        // Dropping this future here loses nothing: the number is compared anew by the next call.
        let newest = seq.wait_for(|seq| *seq > since).await.map(|seq| *seq);
        // The sender lives as long as `self`, so the wait cannot fail; if it did, nothing is new.
        newest.unwrap_or(since)
    }

    /// Ends all event streams after their last update; `drain` and `fail` do so as well.
    ///
    /// Later changes are still stored and shown in snapshots.
    pub fn close_streams(&self) {
        self.update(|state, _| state.close());
    }

    /// Whether the event streams have been closed.
    #[must_use]
    pub fn streams_closed(&self) -> bool {
        self.state().is_closed()
    }

    /// Whether the streams are closed and a client at `cursor` has seen all that they carried.
    #[must_use]
    pub fn has_ended_for(&self, cursor: &Cursor) -> bool {
        self.state().has_ended_for(cursor)
    }

    // === inside ===

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Changes the state and wakes the readers if it got a new number.
    fn update<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.now();
        let mut state = self.state();
        let result = change(&mut state, now);
        let seq = state.seq();
        // Still under the lock, so that the published numbers never go back.
        self.shared
            .seq
            .send_if_modified(|known| std::mem::replace(known, seq) != seq);
        result
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("readiness", &self.readiness())
            .finish_non_exhaustive()
    }
}

/// Locks; a thread that panicked inside has left whole values behind, so its poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name for this run: its wall-clock time for people, and chance against two starts at once.
fn run_id(started_at_ms: u64) -> String {
    // The standard hasher's keys are random: enough for a name, and no dependency.
    let chance = RandomState::new().build_hasher().finish();
    format!("{started_at_ms:x}-{:08x}", chance & 0xffff_ffff)
}
