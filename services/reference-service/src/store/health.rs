//! Whether the database answers, known without waiting for it.

use std::sync::{Arc, Mutex, PoisonError};

use db_pool::AcquireError;
use tokio::{
    runtime::Handle,
    time::{Duration, Instant},
};

use super::{Pools, Store};

/// How old an answer may be before the next question is sent.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The last answer and whether a question is on its way.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asking: bool,
    asked: Option<Instant>,
    trouble: Option<String>,
}

impl Store {
    /// Why the database cannot be used, as far as is known; nothing when it answers.
    ///
    /// Never waits: it returns the last answer, and when that is older than a second it sends a new
    /// ping from a task of its own, one at a time, for the call after. A full pool is no trouble: it
    /// means work, not absence. Outside a runtime no ping is sent.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        if self.status().closed {
            return Some("the pool is closed".to_owned());
        }
        let (trouble, ask) = self.health.look(Instant::now());
        if ask {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(ask_database(self.clone()))),
                Err(_) => self.health.answered(trouble.clone()),
            }
        }
        trouble
    }
}

/// Bounded by the pool's `acquire_timeout` and `validation_timeout`.
async fn ask_database(store: Store) {
    let _asking = Asking(Arc::clone(&store.health));
    let answer = match &store.pools {
        Pools::Sqlite(pool) => pool.ping().await,
        Pools::Postgres(pool) => pool.ping().await,
    };
    let trouble = match answer {
        Ok(_) | Err(AcquireError::Exhausted { .. } | AcquireError::Overloaded { .. }) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = &trouble {
        tracing::warn!(reason, "the database does not answer");
    }
    store.health.answered(trouble);
}

/// Ends the question even when its task is cancelled or panics.
struct Asking(Arc<Health>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.with(|state| state.asking = false);
    }
}

impl Health {
    /// The last answer, and whether the caller is to ask again.
    fn look(&self, now: Instant) -> (Option<String>, bool) {
        self.with(|state| {
            let stale = state
                .asked
                .is_none_or(|at| now.duration_since(at) >= FRESH_FOR);
            let ask = stale && !state.asking;
            if ask {
                state.asking = true;
                state.asked = Some(now);
            }
            (state.trouble.clone(), ask)
        })
    }

    fn answered(&self, trouble: Option<String>) {
        self.with(|state| {
            state.asking = false;
            state.trouble = trouble;
        });
    }

    fn with<R>(&self, use_state: impl FnOnce(&mut State) -> R) -> R {
        // Nothing panics under the lock, so a poisoned state is still whole.
        use_state(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asks_once_a_second_and_one_question_at_a_time() {
        let health = Health::default();
        assert_eq!(health.look(Instant::now()), (None, true));
        assert_eq!(health.look(Instant::now()), (None, false));
        tokio::time::advance(FRESH_FOR * 2).await;
        assert_eq!(
            health.look(Instant::now()),
            (None, false),
            "the first is still on its way"
        );

        health.answered(Some("gone".to_owned()));
        assert_eq!(health.look(Instant::now()), (Some("gone".to_owned()), true));
        health.answered(None);
        assert_eq!(
            health.look(Instant::now()),
            (None, false),
            "the answer is fresh"
        );
    }
}
