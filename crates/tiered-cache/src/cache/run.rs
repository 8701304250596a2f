//! One run of a loader: its turn, its deadline, its panics.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::{Inner, Load, LoadContext, batch::LoadMany, fly::Ask};
use crate::{
    cached::Cached,
    error::{BoxError, LoadError},
    key::CacheKey,
    policy::{Content, Loaded},
    stats::LoadOutcome,
};

/// How a run of a loader ended, and how long it took.
pub(crate) struct Ran<V> {
    pub(crate) result: Result<Loaded<V>, LoadError>,
    pub(crate) took: Duration,
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    pub(crate) async fn run(
        &self,
        ask: &Ask<K>,
        stale: Option<Cached<V>>,
        load: Load<K, V>,
    ) -> Ran<V> {
        let run = |deadline| load(context(ask.key.clone(), stale, deadline));
        let (result, took) = self.bounded(run).await;
        let outcome = match &result {
            Ok(loaded) => outcome_of(loaded),
            Err(error) => outcome_of_error(error),
        };
        self.meter.load(outcome, took);
        Ran { result, took }
    }

    /// As [`run`](Self::run), for several keys at once; counted as one load.
    pub(super) async fn run_many(
        &self,
        missing: Vec<(K, Option<Cached<V>>)>,
        load: LoadMany<K, V>,
    ) -> (Result<Vec<(K, Loaded<V>)>, LoadError>, Duration) {
        let run = |deadline| {
            let missing = missing.into_iter();
            load(
                missing
                    .map(|(key, stale)| context(key, stale, deadline))
                    .collect(),
            )
        };
        let (result, took) = self.bounded(run).await;
        let outcome = match &result {
            Ok(_) => LoadOutcome::Value,
            Err(error) => outcome_of_error(error),
        };
        self.meter.load(outcome, took);
        (result, took)
    }

    /// Waits for a turn, then runs until the deadline of both.
    async fn bounded<T, Fut>(
        &self,
        run: impl FnOnce(Instant) -> Fut,
    ) -> (Result<T, LoadError>, Duration)
    where
        Fut: Future<Output = Result<T, BoxError>>,
    {
        let deadline = Instant::now() + self.policy.load_timeout;
        let turn = self.bulkhead.enter(deadline).await;
        let started = Instant::now();
        let result = match turn {
            Ok(_turn) => {
                // The call itself may panic too, so it runs inside. What it leaves behind is its own:
                // the cache shares no state with it.
                let run = AssertUnwindSafe(async move { run(deadline).await }).catch_unwind();
                match timeout_at(deadline, run).await {
                    Ok(Ok(Ok(answer))) => Ok(answer),
                    Ok(Ok(Err(error))) => Err(LoadError::Failed(error.into())),
                    Ok(Err(_panic)) => Err(LoadError::Panicked),
                    Err(_elapsed) => Err(LoadError::TimedOut {
                        after: self.policy.load_timeout,
                    }),
                }
            }
            Err(error) => Err(error),
        };
        (result, started.elapsed())
    }
}

fn context<K, V>(key: K, stale: Option<Cached<V>>, deadline: Instant) -> LoadContext<K, V> {
    let validator = stale.as_ref().and_then(|old| old.validator());
    LoadContext {
        key,
        validator: validator.map(str::to_owned),
        stale,
        deadline,
    }
}

fn outcome_of<V>(loaded: &Loaded<V>) -> LoadOutcome {
    match loaded.content {
        Content::Value(_) => LoadOutcome::Value,
        Content::Absent => LoadOutcome::Absent,
        Content::NotModified => LoadOutcome::NotModified,
    }
}

fn outcome_of_error(error: &LoadError) -> LoadOutcome {
    match error {
        LoadError::TimedOut { .. } => LoadOutcome::TimedOut,
        LoadError::Panicked => LoadOutcome::Panicked,
        LoadError::Overloaded => LoadOutcome::Overloaded,
        _ => LoadOutcome::Failed,
    }
}
