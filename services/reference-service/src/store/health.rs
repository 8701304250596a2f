//! Whether the database answers, known without waiting for it.

use std::sync::{Mutex, PoisonError};

use db_pool::AcquireError;
use tokio::{
    runtime::Handle,
    time::{Duration, Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

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
    /// ping from a task of its own, one at a time, for the call after. Whoever asks seldom lets
    /// [`watch_health`](Self::watch_health) run, so that the last answer is a fresh one. A full pool
    /// is no trouble: it means work, not absence. Outside a runtime no ping is sent.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        if self.status().closed {
            return Some("the pool is closed".to_owned());
        }
        let (trouble, ask) = self.health.look(Instant::now());
        if ask {
            match Handle::try_current() {
                Ok(runtime) => {
                    let store = self.clone();
                    runtime.spawn(async move { store.health.ask(store.find_trouble()).await });
                }
                Err(_) => self.health.answered(trouble.clone()),
            }
        }
        trouble
    }

    /// Pings the database once a second, one ping at a time, until `cancel`; to be spawned.
    ///
    /// While it runs, [`health`](Self::health) is at most two seconds older than the truth, plus the
    /// time that a ping may take: the pool's `acquire_timeout` and `validation_timeout`. Cancelling
    /// or dropping it also ends the ping under way.
    pub async fn watch_health(&self, cancel: CancellationToken) {
        let watching = self.health.watch(|| self.find_trouble());
        cancel.run_until_cancelled(watching).await;
    }

    /// Bounded by the pool's `acquire_timeout` and `validation_timeout`.
    async fn find_trouble(&self) -> Option<String> {
        let answer = match &self.pools {
            Pools::Sqlite(pool) => pool.ping().await,
            Pools::Postgres(pool) => pool.ping().await,
        };
        match answer {
            Ok(_) | Err(AcquireError::Exhausted { .. } | AcquireError::Overloaded { .. }) => None,
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Ends the question even when its task is cancelled or panics.
struct Asking<'a>(&'a Health);

impl Drop for Asking<'_> {
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

    /// Asks whenever the last question is old enough; never returns.
    async fn watch<Answer>(&self, question: impl Fn() -> Answer)
    where
        Answer: Future<Output = Option<String>>,
    {
        let mut ticks = interval(FRESH_FOR);
        // Of the ticks that a slow answer misses, one is made up for, not all of them in a burst.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.look(Instant::now()).1 {
                self.ask(question()).await;
            }
        }
    }

    /// Waits for the answer to the question that [`look`](Self::look) told the caller to ask.
    async fn ask(&self, answer: impl Future<Output = Option<String>>) {
        // Dropped while it waits, the question counts as ended and the last answer stays.
        let _asking = Asking(self);
        let trouble = answer.await;
        self.answered(trouble);
    }

    fn answered(&self, trouble: Option<String>) {
        let now = trouble.clone();
        let before = self.with(|state| {
            state.asking = false;
            std::mem::replace(&mut state.trouble, trouble)
        });
        match (before, now) {
            (None, Some(reason)) => tracing::warn!(reason, "the database does not answer"),
            (Some(_), None) => tracing::info!("the database answers again"),
            _ => {}
        }
    }

    fn with<R>(&self, use_state: impl FnOnce(&mut State) -> R) -> R {
        // Nothing panics under the lock, so a poisoned state is still whole.
        use_state(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    };

    use tokio::time::{sleep, timeout};

    use super::*;

    impl Health {
        fn last(&self) -> Option<String> {
            self.with(|state| state.trouble.clone())
        }
    }

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

    #[tokio::test(start_paused = true)]
    async fn the_watch_finds_trouble_within_a_second_without_anybody_asking() {
        let (health, gone) = (
            Arc::new(Health::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let watch = tokio::spawn({
            let (health, gone) = (Arc::clone(&health), Arc::clone(&gone));
            async move {
                let question = || async { gone.load(Relaxed).then(|| "gone".to_owned()) };
                health.watch(question).await;
            }
        });
        sleep(FRESH_FOR * 10).await;
        assert_eq!(health.last(), None);
        gone.store(true, Relaxed);
        sleep(FRESH_FOR).await;
        assert_eq!(health.last().as_deref(), Some("gone"));
        gone.store(false, Relaxed);
        sleep(FRESH_FOR).await;
        assert_eq!(health.last(), None);
        watch.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_waits_for_a_slow_answer_before_it_asks_again() {
        let (health, asked) = (Health::default(), AtomicU32::new(0));
        let slow = || async {
            asked.fetch_add(1, Relaxed);
            sleep(FRESH_FOR * 10).await;
            None
        };
        let watched = timeout(FRESH_FOR * 35, health.watch(slow)).await;
        assert!(watched.is_err(), "it watches until it is dropped");
        assert_eq!(asked.load(Relaxed), 4, "at 0, 10, 20 and 30 seconds");
        assert!(
            health.look(Instant::now()).1,
            "the question that was dropped does not count as under way"
        );
    }
}
