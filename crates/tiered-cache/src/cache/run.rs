//! One run of a loader: its turn, its deadline, its panics.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::{Inner, Load, LoadContext, fly::Ask};
use crate::{
    cached::Cached,
    error::LoadError,
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
        let deadline = Instant::now() + self.policy.load_timeout;
        let turn = self.bulkhead.enter(deadline).await;
        let started = Instant::now();
        let result = match turn {
            Ok(_turn) => self.run_now(ask, stale, load, deadline).await,
            Err(error) => Err(error),
        };
        let took = started.elapsed();
        self.meter.load(outcome_of(&result), took);
        Ran { result, took }
    }

    async fn run_now(
        &self,
        ask: &Ask<K>,
        stale: Option<Cached<V>>,
        load: Load<K, V>,
        deadline: Instant,
    ) -> Result<Loaded<V>, LoadError> {
        let context = LoadContext {
            key: ask.key.clone(),
            validator: stale
                .as_ref()
                .and_then(|old| old.validator())
                .map(str::to_owned),
            stale,
            deadline,
        };
        // The call itself may panic too, so it runs inside. What it leaves behind is its own: the
        // cache shares no state with it.
        let load = AssertUnwindSafe(async move { load(context).await }).catch_unwind();
        match timeout_at(deadline, load).await {
            Ok(Ok(Ok(loaded))) => Ok(loaded),
            Ok(Ok(Err(error))) => Err(LoadError::Failed(error.into())),
            Ok(Err(_panic)) => Err(LoadError::Panicked),
            Err(_elapsed) => Err(LoadError::TimedOut {
                after: self.policy.load_timeout,
            }),
        }
    }
}

fn outcome_of<V>(result: &Result<Loaded<V>, LoadError>) -> LoadOutcome {
    match result {
        Ok(loaded) => match loaded.content {
            Content::Value(_) => LoadOutcome::Value,
            Content::Absent => LoadOutcome::Absent,
            Content::NotModified => LoadOutcome::NotModified,
        },
        Err(LoadError::TimedOut { .. }) => LoadOutcome::TimedOut,
        Err(LoadError::Panicked) => LoadOutcome::Panicked,
        Err(LoadError::Overloaded) => LoadOutcome::Overloaded,
        Err(_) => LoadOutcome::Failed,
    }
}
