//! Writes of a request whose place in the log is not known: those on connections that it borrowed for writing, and
//! commits whose answer never came.
//!
//! Nobody can see from outside what was written there, so all that was borrowed counts as written to. When the
//! connection is back, the next end of the log that the primary tells is behind all of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::lsn::Lsn;

/// Connections that one request borrowed for writing.
#[derive(Debug, Default)]
pub(crate) struct Unplaced(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lent: u32,
    /// When the last one came back or is over, until its writes have a place.
    over: Option<Instant>,
}

impl Unplaced {
    pub(crate) fn lent(&self) {
        self.state().lent += 1;
    }

    pub(crate) fn returned(&self, now: Instant) {
        let mut state = self.state();
        state.lent = state.lent.saturating_sub(1);
        state.over = state.over.max(Some(now));
    }

    /// A commit that is nowhere to be found in the log yet; at `over`, which may be in the future, it has surely taken
    /// effect or never will.
    pub(crate) fn committed(&self, over: Instant) {
        let mut state = self.state();
        state.over = state.over.max(Some(over));
    }

    /// Whether there are such writes.
    pub(crate) fn is_any(&self) -> bool {
        let state = self.state();
        state.lent > 0 || state.over.is_some()
    }

    /// The primary was asked at `asked` and said where its log ends: returns that, if it is the place of all of them.
    pub(crate) fn place(&self, asked: Instant, end: Lsn) -> Option<Lsn> {
        let mut state = self.state();
        let behind = state.lent == 0 && state.over.is_some_and(|over| over < asked);
        behind.then(|| {
            state.over = None;
            end
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_an_answer_to_a_later_question_places_what_came_back() {
        let (unplaced, end) = (Unplaced::default(), Lsn::new(7));
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!unplaced.is_any());
        unplaced.lent();
        unplaced.lent();
        unplaced.returned(at(10));
        assert_eq!(unplaced.place(at(11), end), None, "one is still lent");
        unplaced.returned(at(20));
        assert_eq!(
            unplaced.place(at(20), end),
            None,
            "asked before it was back"
        );
        assert!(unplaced.is_any());
        assert_eq!(unplaced.place(at(21), end), Some(end));
        assert!(!unplaced.is_any());
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_may_still_take_effect_has_no_place_until_it_cannot() {
        let (unplaced, end) = (Unplaced::default(), Lsn::new(7));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        unplaced.committed(at(30));
        unplaced.lent();
        unplaced.returned(at(1));
        assert_eq!(unplaced.place(at(2), end), None, "it may still take effect");
        assert_eq!(unplaced.place(at(31), end), Some(end));
    }
}
