//! Several keys in one call: each tier is asked once for all of them, and the loader once for those that
//! no tier has.

use std::{collections::HashMap, future::Future, sync::Arc};

use futures_util::{FutureExt, future::join_all};

use super::{
    Inner, LoadContext, TieredCache,
    batch::{LoadMany, Sought},
    below::Below,
    hit::Seen,
};
use crate::{
    cached::{Cached, Lookup, TierKind, TierSet},
    error::{BoxError, LoadError},
    events::StaleReason,
    flight::Waiter,
    key::{CacheKey, key_hash},
    policy::Loaded,
};

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// The values of several keys, in their order; a key may be named twice.
    ///
    /// As [`get`](Self::get) for each of them, but each tier is asked once for all that it may have
    /// (Redis by one `MGET` per slot), in slices of 512 keys.
    pub async fn get_many(&self, keys: &[K]) -> Vec<Lookup<V>> {
        self.inner.get_many(keys).await
    }

    /// The values of several keys, in their order, from the tiers, or else from `loader`, which gets the
    /// keys that no tier has and that nobody else is loading, all at once and each of them once. It is
    /// not called when there are none.
    ///
    /// Keys that the loader does not answer are [`Lookup::Absent`]; keys that it was not asked for are
    /// ignored. What is due for a refresh goes along with what is missing. As with
    /// [`get_or_load`](Self::get_or_load), the load goes on and is kept when this future is dropped, and
    /// single loads of the same keys join it.
    ///
    /// # Errors
    /// [`LoadError`] when a key is left without an answer: its loader failed, and no older value may
    /// stand in. What was found of the other keys is in memory, for [`get_many`](Self::get_many).
    pub async fn get_or_load_many<F, Fut, I, E>(
        &self,
        keys: &[K],
        loader: F,
    ) -> Result<Vec<Lookup<V>>, LoadError>
    where
        F: FnOnce(Vec<K>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (K, V)> + 'static,
        E: Into<BoxError> + 'static,
    {
        let load = |missing: Vec<LoadContext<K, V>>| {
            loader(missing.into_iter().map(|context| context.key).collect()).map(|answer| {
                let values = answer?.into_iter();
                Ok::<_, E>(values.map(|(key, value)| (key, Loaded::value(value))))
            })
        };
        self.get_or_load_many_with(keys, load).await
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), for a loader that wants to know what is held
    /// already, or has more to say of the entries.
    ///
    /// # Errors
    /// As there.
    pub async fn get_or_load_many_with<F, Fut, I, E>(
        &self,
        keys: &[K],
        loader: F,
    ) -> Result<Vec<Lookup<V>>, LoadError>
    where
        F: FnOnce(Vec<LoadContext<K, V>>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (K, Loaded<V>)>,
        E: Into<BoxError>,
    {
        let load: LoadMany<K, V> = Box::new(move |missing| {
            let answer = loader(missing);
            let collect = |answer: Result<I, E>| match answer {
                Ok(values) => Ok(values.into_iter().collect()),
                Err(error) => Err(error.into()),
            };
            answer.map(collect).boxed()
        });
        self.inner.get_or_load_many(keys, load).await
    }
}

/// Someone else's flight or this call's own, and what stands in if it takes too long.
struct Wait<V> {
    at: usize,
    waiter: Waiter<V>,
    fallback: Option<Cached<V>>,
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    async fn get_many(self: &Arc<Self>, keys: &[K]) -> Vec<Lookup<V>> {
        let (keys, places) = distinct(keys);
        let token = self.floors.token();
        let mut answers: Vec<Lookup<V>> = vec![Lookup::Miss; keys.len()];
        let mut sought = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            match self.read_memory(key) {
                Seen::Fresh(value) => answers[at] = Lookup::hit(value, TierKind::Memory),
                Seen::Due(value) => {
                    self.refresh_registered(key);
                    answers[at] = Lookup::hit(value, TierKind::Memory);
                }
                Seen::Quiet(value) => {
                    self.served_stale(key, StaleReason::Error);
                    answers[at] = Lookup::stale(value, TierKind::Memory);
                }
                Seen::Absent => answers[at] = Lookup::Absent,
                Seen::Stale(value) => {
                    answers[at] = Lookup::stale(value, TierKind::Memory);
                    sought.push(at);
                }
                Seen::Fallback(_) | Seen::Gone | Seen::Nothing => sought.push(at),
            }
        }
        let named: Vec<_> = sought
            .iter()
            .map(|at| Sought {
                key: keys[*at],
                hash: key_hash(keys[*at], self.id),
                token,
                only: None,
            })
            .collect();
        let found = self
            .find_below_many(&named, TierSet::ALL.and(self.tiers))
            .await;
        for (at, below) in sought.into_iter().zip(found) {
            match below {
                Below::Fresh(entry, tier) => {
                    answers[at] = Lookup::hit(Cached::new(entry, false), tier);
                }
                Below::Absent(_) => answers[at] = Lookup::Absent,
                Below::Stale(entry, tier) if !answers[at].is_stale() => {
                    answers[at] = Lookup::stale(Cached::new(entry, true), tier);
                }
                Below::Stale(..) | Below::Fallback(..) | Below::Nothing => {}
            }
            if answers[at].is_stale() {
                self.served_stale(keys[at], StaleReason::Revalidating);
                self.refresh_registered(keys[at]);
            }
        }
        places.into_iter().map(|at| answers[at].clone()).collect()
    }

    async fn get_or_load_many(
        self: &Arc<Self>,
        keys: &[K],
        load: LoadMany<K, V>,
    ) -> Result<Vec<Lookup<V>>, LoadError> {
        let (keys, places) = distinct(keys);
        let mut answers = vec![Lookup::Miss; keys.len()];
        let mut waits = Vec::new();
        let mut aboard = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let fallback = match self.read_memory(key) {
                Seen::Fresh(value) => {
                    answers[at] = Lookup::hit(value, TierKind::Memory);
                    continue;
                }
                Seen::Due(value) => {
                    aboard.extend(self.board(key, Some(&value)).1);
                    answers[at] = Lookup::hit(value, TierKind::Memory);
                    continue;
                }
                Seen::Stale(value) => {
                    aboard.extend(self.board(key, Some(&value)).1);
                    self.served_stale(key, StaleReason::Revalidating);
                    answers[at] = Lookup::stale(value, TierKind::Memory);
                    continue;
                }
                Seen::Quiet(value) => {
                    self.served_stale(key, StaleReason::Error);
                    answers[at] = Lookup::stale(value, TierKind::Memory);
                    continue;
                }
                Seen::Absent => {
                    answers[at] = Lookup::Absent;
                    continue;
                }
                Seen::Fallback(value) => Some(value),
                Seen::Gone | Seen::Nothing => None,
            };
            let (waiter, passenger) = self.board(key, None);
            if passenger.is_none() {
                self.meter.coalesced.add();
            }
            aboard.extend(passenger);
            waits.push(Wait {
                at,
                waiter,
                fallback,
            });
        }
        if !aboard.is_empty() {
            // CANCEL: the task owns the seats, so a caller who goes away neither ends the load nor
            // leaves a key blocked.
            drop(
                self.common
                    .tasks
                    .spawn(Arc::clone(self).fly_many(aboard, load)),
            );
        }
        let ends = waits.into_iter().map(|wait| {
            let key = keys[wait.at];
            async move {
                let outcome = self
                    .wait(wait.waiter, key, wait.fallback.as_ref(), self.tiers)
                    .await;
                (wait.at, outcome)
            }
        });
        for (at, outcome) in join_all(ends).await {
            answers[at] = outcome?;
        }
        Ok(places.into_iter().map(|at| answers[at].clone()).collect())
    }
}

/// Each key once, and for each of `keys` which of them it is.
fn distinct<K: CacheKey>(keys: &[K]) -> (Vec<&K>, Vec<usize>) {
    let mut seen = HashMap::with_capacity(keys.len());
    let mut distinct = Vec::with_capacity(keys.len());
    let places = keys.iter().map(|key| {
        *seen.entry(key).or_insert_with(|| {
            distinct.push(key);
            distinct.len() - 1
        })
    });
    let places = places.collect();
    (distinct, places)
}
