//! Writes of a request whose place in the log is not known: those on connections that it borrowed for writing.
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
    /// When the last one came back, until its writes have a place.
    returned: Option<Instant>,
}

impl Unplaced {
    pub(crate) fn lent(&self) {
        self.state().lent += 1;
    }

    pub(crate) fn returned(&self, now: Instant) {
        let mut state = self.state();
        state.lent = state.lent.saturating_sub(1);
        state.returned = Some(now);
    }

    /// Whether there are such writes.
    pub(crate) fn is_any(&self) -> bool {
        let state = self.state();
        state.lent > 0 || state.returned.is_some()
    }

    /// The primary was asked at `asked` and said where its log ends: returns that, if it is the place of all of them.
    pub(crate) fn place(&self, asked: Instant, end: Lsn) -> Option<Lsn> {
        let mut state = self.state();
        let behind = state.lent == 0 && state.returned.is_some_and(|returned| returned < asked);
        behind.then(|| {
            state.returned = None;
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
}
