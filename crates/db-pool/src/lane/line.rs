//! One connection that many tasks read through, and what is known of its pace.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::desk::Place;
use crate::backend::Backend;
use crate::manager::Managed;
use crate::shared::Shared;
use crate::slots::Reserved;

pub(crate) struct Line<B: Backend> {
    pub(crate) id: u64,
    pub(crate) pace: Pace,
    managed: Managed<B::Connection>,
    shared: Arc<Shared>,
    /// Entitles to one connection of the pool, until this one is hung up.
    permit: Mutex<Option<Reserved<B>>>,
    orphans: Mutex<Orphans>,
    hung_up: AtomicBool,
}

/// Statements that nobody waits for any more; their places are free when they are answered.
#[derive(Default)]
struct Orphans {
    places: Vec<Place>,
    /// Whether a task waits for the answers already.
    draining: bool,
}

impl<B: Backend> Line<B> {
    pub(crate) fn new(
        id: u64,
        managed: Managed<B::Connection>,
        permit: Reserved<B>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            id,
            pace: Pace::new(Instant::now()),
            managed,
            shared,
            permit: Mutex::new(Some(permit)),
            orphans: Mutex::default(),
            hung_up: AtomicBool::new(false),
        }
    }

    pub(crate) fn connection(&self) -> &B::Connection {
        self.managed.connection()
    }

    /// Why it has ended; `None` while it lives.
    pub(crate) fn fault(&self) -> Option<String> {
        B::fault(self.connection())
    }

    /// Whether it should be replaced, however well it works.
    pub(crate) fn is_outdated(&self, now: Instant) -> bool {
        self.managed.is_outdated(&self.shared, now)
    }

    /// Whether it was silent so long, or so much has happened since, that it must be asked for a sign of life.
    pub(crate) fn is_doubtful(&self, now: Instant) -> bool {
        let alive = self.pace.alive();
        now.duration_since(alive) > self.shared.config.validate_after_idle
            || self.shared.is_suspect(alive)
    }

    /// Closes the socket; statements under way fail. The connection counts no longer.
    pub(crate) fn hang_up(&self) {
        if !self.hung_up.swap(true, Ordering::AcqRel) {
            B::hang_up(self.connection());
            drop(
                self.permit
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        }
    }

    /// Keeps the place of a statement that was sent and that nobody waits for, until it is answered.
    ///
    /// It is not cancelled on the server: a cancel would hit whatever runs there, which may be somebody else's.
    pub(crate) fn orphan(self: &Arc<Self>, place: Place) {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.places.push(place);
        if !std::mem::replace(&mut orphans.draining, true) {
            self.shared.runtime.spawn(drain(Arc::clone(self)));
        }
    }

    fn take_orphans(&self) -> Vec<Place> {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        orphans.draining = !orphans.places.is_empty();
        std::mem::take(&mut orphans.places)
    }
}

/// The server answers in order: the answer to an empty query means that all before it are over.
async fn drain<B: Backend>(line: Arc<Line<B>>) {
    loop {
        let places = line.take_orphans();
        if places.is_empty() {
            return;
        }
        // Ends at the latest when the line is hung up, which its retirement bounds.
        if B::ping_shared(line.connection()).await.is_err() {
            tracing::trace!("a line ended before its abandoned statements were answered");
        }
        for place in places {
            line.pace.end(Instant::now());
            drop(place);
        }
    }
}

/// How many statements are under way, and when the server last finished one.
///
/// As it answers in order, the time since then is how long it has been at the oldest.
pub(crate) struct Pace {
    epoch: Instant,
    under_way: AtomicU32,
    /// Nanoseconds after `epoch` at which a statement ended, or began on an idle line.
    progress: AtomicU64,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            under_way: AtomicU32::new(0),
            progress: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self, now: Instant) {
        if self.under_way.fetch_add(1, Ordering::AcqRel) == 0 {
            self.progress.store(self.nanos(now), Ordering::Release);
        }
    }

    /// One was answered. Returns since when the server can have worked on it.
    pub(crate) fn end(&self, now: Instant) -> Instant {
        let before = self.progress.swap(self.nanos(now), Ordering::AcqRel);
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        self.epoch + Duration::from_nanos(before)
    }

    /// How long the server has been at the oldest statement.
    pub(crate) fn head_age(&self, now: Instant) -> Duration {
        if self.under_way.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(self.alive())
    }

    /// The last sign of life.
    pub(crate) fn alive(&self) -> Instant {
        self.epoch + Duration::from_nanos(self.progress.load(Ordering::Acquire))
    }

    /// It answered a question.
    pub(crate) fn answered(&self, now: Instant) {
        self.progress.fetch_max(self.nanos(now), Ordering::AcqRel);
    }

    fn nanos(&self, at: Instant) -> u64 {
        // 584 years.
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_as_old_as_the_last_progress() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pace = Pace::new(start);
        assert_eq!(
            pace.head_age(at(50)),
            Duration::ZERO,
            "nothing is under way"
        );
        pace.begin(at(100));
        pace.begin(at(110));
        assert_eq!(pace.head_age(at(130)), Duration::from_millis(30));
        assert_eq!(pace.end(at(140)), at(100));
        assert_eq!(pace.head_age(at(150)), Duration::from_millis(10));
        assert_eq!(
            pace.end(at(160)),
            at(140),
            "it ran from the end of the one before"
        );
        assert_eq!(pace.head_age(at(900)), Duration::ZERO);
        assert_eq!(pace.alive(), at(160));
    }
}
