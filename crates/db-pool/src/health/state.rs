//! The last answer of the database, when it came, and who asks next; a decision without waiting.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

/// Whether the database can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HealthState {
    /// It answers.
    Up,
    /// It is slow to answer, or too busy to be asked; requests may still be served.
    Degraded,
    /// It does not answer, or the pool is closed.
    Down,
}

/// What is known of the database at this moment; prints as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether it can be used.
    pub state: HealthState,
    /// Why it is not up, the cause of each after it.
    pub reasons: Vec<String>,
    /// How long ago the database answered, or failed to; `None` before the first time, which counts as up since the
    /// pool opened a connection.
    #[serde(serialize_with = "seconds")]
    pub checked_ago: Option<Duration>,
}

impl Health {
    /// Whether requests should be sent here: up or degraded.
    pub fn is_ready(&self) -> bool {
        self.state != HealthState::Down
    }

    pub(super) fn closed() -> Self {
        Self {
            state: HealthState::Down,
            reasons: vec!["the pool is closed".to_owned()],
            checked_ago: Some(Duration::ZERO),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            HealthState::Up => "up",
            HealthState::Degraded => "degraded",
            HealthState::Down => "down",
        })?;
        for (index, reason) in self.reasons.iter().enumerate() {
            write!(f, "{}{reason}", if index == 0 { ": " } else { "; " })?;
        }
        match self.checked_ago {
            Some(ago) => write!(f, " ({} ms ago)", ago.as_millis()),
            None => f.write_str(" (not asked yet)"),
        }
    }
}

/// The state behind `Pool::health`.
pub(crate) struct Probe(Mutex<State>);

struct State {
    /// Whether a task is there to ask.
    watched: bool,
    wanted: Option<Instant>,
    asked: Option<Instant>,
    answered: Option<Instant>,
    last: (HealthState, Vec<String>),
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            watched: false,
            wanted: None,
            asked: None,
            answered: None,
            last: (HealthState::Up, Vec::new()),
        }))
    }

    /// What is known, and whether the caller has to start the task that asks.
    pub(super) fn look(&self, now: Instant) -> (Health, bool) {
        let mut state = self.lock();
        state.wanted = Some(now);
        let watch = !std::mem::replace(&mut state.watched, true);
        let (mut known, mut reasons) = state.last.clone();
        let waiting = state.asked.map(|asked| now.duration_since(asked));
        if let (Some(waiting), HealthState::Up) = (waiting.filter(|w| *w >= OVERDUE), known) {
            known = HealthState::Degraded;
            reasons.push(format!("no answer for {} s", waiting.as_secs()));
        }
        let health = Health {
            state: known,
            reasons,
            checked_ago: state.answered.map(|at| now.duration_since(at)),
        };
        (health, watch)
    }

    /// The question that the task is to ask now; `None` if it is to end.
    pub(super) fn ask(&self, now: Instant) -> Option<Asking<'_>> {
        let mut state = self.lock();
        let wanted = |at: &Instant| now.duration_since(*at) < WANTED_FOR;
        if state.wanted.as_ref().is_some_and(wanted) {
            state.asked = Some(now);
            Some(Asking {
                probe: self,
                done: false,
            })
        } else {
            state.watched = false;
            None
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question under way. Dropped without an answer, the task is gone: the next caller starts another.
pub(super) struct Asking<'a> {
    probe: &'a Probe,
    done: bool,
}

impl Asking<'_> {
    pub(super) fn answered(mut self, now: Instant, answer: (HealthState, Vec<String>)) {
        self.done = true;
        let mut state = self.probe.lock();
        let before = state.last.0;
        if before != answer.0 {
            tracing::info!(?before, now = ?answer.0, reasons = ?answer.1, "the health of the database changed");
        }
        state.asked = None;
        state.answered = Some(now);
        state.last = answer;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.done {
            let mut state = self.probe.lock();
            (state.watched, state.asked) = (false, None);
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn seconds<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.as_secs_f64()).serialize(to)
}

/// How often the database is asked.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long the task goes on after the last caller.
const WANTED_FOR: Duration = Duration::from_secs(60);
/// An answer that takes so long is trouble.
const OVERDUE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_asks_one_question_at_a_time_until_nobody_wants_to_know() {
        let (probe, start) = (Probe::new(), Instant::now());
        let (health, watch) = probe.look(start);
        assert!(watch && health.is_ready());
        assert_eq!(health.to_string(), "up (not asked yet)");
        assert!(!probe.look(start).1, "the task is there");
        let asking = probe.ask(start).expect("somebody wants to know");
        let gone = vec!["gone".to_owned()];
        asking.answered(start, (HealthState::Down, gone));
        let later = start + Duration::from_millis(20);
        assert_eq!(probe.look(later).0.to_string(), "down: gone (20 ms ago)");
        let asking = probe.ask(later).expect("somebody wants to know");
        asking.answered(later, (HealthState::Up, Vec::new()));
        assert!(probe.ask(later + WANTED_FOR).is_none());
        assert!(probe.look(later).1, "the task has ended");
    }

    #[test]
    fn an_answer_that_takes_long_is_trouble_and_a_task_that_vanishes_is_replaced() {
        let (probe, start) = (Probe::new(), Instant::now());
        probe.look(start);
        let asking = probe.ask(start).expect("somebody wants to know");
        let (health, watch) = probe.look(start + Duration::from_secs(4));
        assert_eq!(
            health.to_string(),
            "degraded: no answer for 4 s (not asked yet)"
        );
        assert!(!watch);
        drop(asking);
        assert!(probe.look(start).1);
    }
}
