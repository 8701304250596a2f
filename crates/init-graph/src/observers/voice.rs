//! Keeps the events of one node in order: who may speak for it now, and what was said while somebody else spoke.
//!
//! Two kinds of callers meet here. The graph itself tells where the node is in its life; it waits until whoever speaks
//! has finished, so that nothing of an attempt is heard after its end. The initialiser's own words come from any thread
//! and never wait: when somebody speaks already, that one takes them along. So a caller that holds locks of its own, or
//! that is an observer itself, cannot be caught in a circle of waits here.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::context::Advance;
use crate::core::lock;
use crate::event::Event;

#[derive(Default)]
pub(super) struct Voice {
    state: Mutex<State>,
    quiet: Condvar,
}

#[derive(Default)]
struct State {
    /// The attempt whose words are heard, from 1; 0 for none.
    open: u32,
    /// How often in a row the one that speaks may take the words of others along.
    rounds: u8,
    /// Whether somebody is calling the observers for this node.
    speaking: bool,
    /// Whether the node was left behind, so that nothing more is heard of this start or stop of it.
    left: bool,
    /// Whether its stop has ended, so that it cannot be left behind any more.
    stopped: bool,
    /// Whether nothing is heard of it ever again.
    silenced: bool,
    /// Whether somebody waits for the one that speaks.
    awaited: bool,
    /// The latest words, said while somebody else was speaking.
    unheard: Option<Box<Advance>>,
}

impl Voice {
    /// The words that the caller has to deliver, and then say so by [`spoke`](Self::spoke); `None` when the attempt is
    /// over, or somebody else takes them along.
    pub(super) fn speak(
        &self,
        attempt: u32,
        words: impl FnOnce() -> Advance,
        inside: bool,
    ) -> Option<Advance> {
        let mut state = lock(&self.state);
        if state.open != attempt {
            return None;
        }
        // Asked for under the lock, so that later words are never followed by earlier ones.
        let words = words();
        if state.speaking || inside {
            state.unheard = Some(Box::new(words));
            return None;
        }
        state.speaking = true;
        state.rounds = ROUNDS_MAX;
        state.unheard = None;
        Some(words)
    }

    /// What was said meanwhile and has to be delivered as well; `None` when the caller has finished.
    pub(super) fn spoke(&self) -> Option<Advance> {
        let mut state = lock(&self.state);
        if state.rounds > 0
            && let Some(words) = state.unheard.take()
        {
            state.rounds -= 1;
            return Some(*words);
        }
        self.release(state);
        None
    }

    /// Takes the word for `event` as soon as nobody speaks, with words that have to be delivered before it; the caller
    /// says by [`end`](Self::end) when it has finished. `None` when nothing more may be heard of the node.
    pub(super) fn begin(&self, event: &Event<'_>, inside: bool) -> Option<Option<Box<Advance>>> {
        let mut state = lock(&self.state);
        if matches!(event, Event::Queued { .. } | Event::Starting { .. }) {
            // It was restarted.
            state.left = false;
        }
        let beyond = state.stopped && matches!(event, Event::Abandoned { .. });
        if state.left || state.silenced || beyond {
            return None;
        }
        state.stopped = matches!(event, Event::Stopped { .. } | Event::StopFailed { .. });
        state.open = 0;
        state.left = matches!(event, Event::Abandoned { .. });
        let mut state = self.wait(state, inside, WAIT_MAX);
        state.speaking = true;
        Some(state.unheard.take())
    }

    pub(super) fn end(&self, event: &Event<'_>) {
        let mut state = lock(&self.state);
        if let Event::Starting { attempt, .. } = event
            && !state.silenced
        {
            state.open = *attempt;
        }
        self.release(state);
    }

    /// Lets nothing more be heard of any of `voices`, and waits until nobody speaks.
    pub(super) fn silence<'a>(voices: impl Iterator<Item = &'a Self>, inside: bool) {
        let mut patience = WAIT_MAX;
        for voice in voices {
            let mut state = lock(&voice.state);
            state.open = 0;
            state.silenced = true;
            state.unheard = None;
            if state.speaking {
                drop(voice.wait(state, inside, patience));
                patience = Duration::ZERO;
            }
        }
    }

    fn release(&self, mut state: MutexGuard<'_, State>) {
        state.speaking = false;
        if state.awaited {
            state.awaited = false;
            drop(state);
            self.quiet.notify_all();
        }
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        inside: bool,
        limit: Duration,
    ) -> MutexGuard<'a, State> {
        if !state.speaking || inside {
            return state;
        }
        state.awaited = true;
        let waited = self
            .quiet
            .wait_timeout_while(state, limit, |state| state.speaking);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A thread that speaks takes the words of others along so often before it goes on with its own work; what is left over
/// then is heard with the next words, or before the attempt ends.
const ROUNDS_MAX: u8 = 16;

/// Somebody speaks for as long as observers take. One that blocks for ever must not block the graph: then its order is
/// given up.
const WAIT_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Node;

    fn node() -> Node {
        Node::plain(0, "database")
    }

    fn words(current: u64) -> Advance {
        Advance {
            current,
            ..Advance::default()
        }
    }

    /// The words to deliver, by their number.
    fn said(words: Option<Advance>) -> Option<u64> {
        words.map(|words| words.current)
    }

    fn open(voice: &Voice, node: &Node, attempt: u32) {
        let starting = Event::Starting { node, attempt };
        assert!(voice.begin(&starting, false).is_some());
        voice.end(&starting);
    }

    #[test]
    fn words_are_heard_between_the_beginning_and_the_end_of_their_attempt() {
        let (voice, node) = (Voice::default(), node());
        assert_eq!(said(voice.speak(1, || words(1), false)), None);
        open(&voice, &node, 1);
        assert_eq!(said(voice.speak(1, || words(2), false)), Some(2));
        assert_eq!(said(voice.spoke()), None);
        let ready = Event::Ready {
            node: &node,
            took: Duration::ZERO,
        };
        assert!(voice.begin(&ready, false).is_some());
        voice.end(&ready);
        assert_eq!(said(voice.speak(1, || words(3), false)), None);
    }

    #[test]
    fn words_of_an_earlier_attempt_are_not_heard_in_a_later_one() {
        let (voice, node) = (Voice::default(), node());
        open(&voice, &node, 1);
        open(&voice, &node, 2);
        assert_eq!(said(voice.speak(1, || words(1), false)), None);
        assert_eq!(said(voice.speak(2, || words(2), false)), Some(2));
    }

    #[test]
    fn whoever_speaks_takes_the_latest_words_of_others_along() {
        let (voice, node) = (Voice::default(), node());
        open(&voice, &node, 1);
        assert_eq!(said(voice.speak(1, || words(1), false)), Some(1));
        assert_eq!(said(voice.speak(1, || words(2), false)), None);
        assert_eq!(said(voice.speak(1, || words(3), false)), None);
        assert_eq!(said(voice.spoke()), Some(3));
        assert_eq!(said(voice.spoke()), None);
    }

    #[test]
    fn whoever_speaks_is_not_held_up_by_others_for_ever() {
        let (voice, node) = (Voice::default(), node());
        open(&voice, &node, 1);
        assert_eq!(said(voice.speak(1, || words(0), false)), Some(0));
        let mut rounds = 0_u64;
        loop {
            rounds += 1;
            assert_eq!(said(voice.speak(1, || words(rounds), false)), None);
            if voice.spoke().is_none() {
                break;
            }
        }
        assert_eq!(rounds, u64::from(ROUNDS_MAX) + 1);
        // What was left over is not lost: it comes before the end.
        let ready = Event::Ready {
            node: &node,
            took: Duration::ZERO,
        };
        let unheard = voice.begin(&ready, false).flatten();
        assert_eq!(said(unheard.map(|words| *words)), Some(rounds));
    }

    #[test]
    fn what_an_observer_says_is_kept_for_later() {
        let (voice, node) = (Voice::default(), node());
        open(&voice, &node, 1);
        assert_eq!(said(voice.speak(1, || words(1), true)), None);
        let failed = Event::Cancelled {
            node: &node,
            took: Duration::ZERO,
        };
        let unheard = voice.begin(&failed, false).flatten();
        assert_eq!(said(unheard.map(|words| *words)), Some(1));
    }

    #[test]
    fn nothing_is_heard_of_a_node_left_behind_until_it_starts_again() {
        let (voice, node) = (Voice::default(), node());
        let took = Duration::ZERO;
        open(&voice, &node, 1);
        let abandoned = Event::Abandoned { node: &node, took };
        assert!(voice.begin(&abandoned, false).is_some());
        voice.end(&abandoned);
        let late = Event::Ready { node: &node, took };
        assert!(voice.begin(&late, false).is_none());
        assert_eq!(said(voice.speak(1, || words(1), false)), None);
        open(&voice, &node, 1);
        assert_eq!(said(voice.speak(1, || words(2), false)), Some(2));
    }

    #[test]
    fn nothing_is_heard_after_the_end_of_all() {
        let (voice, node) = (Voice::default(), node());
        open(&voice, &node, 1);
        Voice::silence([&voice].into_iter(), false);
        assert_eq!(said(voice.speak(1, || words(1), false)), None);
        let again = Event::Starting {
            node: &node,
            attempt: 2,
        };
        assert!(voice.begin(&again, false).is_none());
    }

    #[test]
    fn a_node_that_stopped_at_the_last_moment_is_not_left_behind() {
        let (voice, node) = (Voice::default(), node());
        let took = Duration::ZERO;
        let stopped = Event::Stopped { node: &node, took };
        assert!(voice.begin(&stopped, false).is_some());
        voice.end(&stopped);
        let abandoned = Event::Abandoned { node: &node, took };
        assert!(voice.begin(&abandoned, false).is_none());
    }
}
