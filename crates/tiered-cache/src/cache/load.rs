//! Reads with a loader: what is answered at once, what starts a flight, and how long a caller waits.

use std::{future::Future, sync::Arc};

use tokio::pin;

use super::{
    Inner, Load, LoadContext, TieredCache,
    context::{answer_of, load_of},
    fly::Ask,
    hit::Seen,
};
use crate::{
    cached::{Cached, Lookup, TierKind, TierSet},
    coherence::{Standing, Token},
    error::{BoxError, LoadError},
    events::StaleReason,
    flight::{Flights, Waiter},
    key::{CacheKey, key_hash},
    policy::{EntryOptions, Loaded},
};

/// What one call wants besides the key.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) options: EntryOptions,
    pub(crate) tiers: TierSet,
}

impl Wish {
    /// On the tiers that the cache has.
    pub(crate) fn within(self, tiers: TierSet) -> Self {
        Self {
            tiers: self.tiers.and(tiers),
            ..self
        }
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            options: EntryOptions::default(),
            tiers: TierSet::ALL,
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> TieredCache<K, V> {
    /// The value from a tier, or else from `loader`, which runs once however many callers ask.
    ///
    /// The loader returns an `Option<V>`, or a [`Loaded`] to say more of the entry. The load runs on a
    /// task of its own: it goes on, and is kept, when this future is dropped. A caller that asks after
    /// an invalidation never gets a load begun before it.
    ///
    /// # Errors
    /// [`LoadError`]: the loader failed, panicked, got no turn or ran longer than
    /// `Policy::load_timeout`, and no older value may stand in.
    pub async fn get_or_load<F, Fut, R, E>(
        &self,
        key: &K,
        loader: F,
    ) -> Result<Lookup<V>, LoadError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<V>> + 'static,
        E: Into<BoxError> + 'static,
    {
        match self.inner.read_memory(key) {
            // Nothing else is done for a hit: no load is boxed, no key hashed.
            Seen::Fresh(value) => Ok(Lookup::hit(value, TierKind::Memory)),
            seen => {
                let load: Load<K, V> = Box::new(move |_| answer_of(loader()));
                // Boxed, as in `get`.
                let loaded = self.inner.load_unless(seen, key, Wish::default(), load);
                Box::pin(loaded).await
            }
        }
    }

    /// The value from a tier, or else from the registered loader (`CacheBuilder::loader`).
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load); [`LoadError::NoLoader`] when there is none.
    pub async fn fetch(&self, key: &K) -> Result<Lookup<V>, LoadError> {
        match self.inner.read_memory(key) {
            Seen::Fresh(value) => Ok(Lookup::hit(value, TierKind::Memory)),
            seen => {
                let load = self.inner.registered(key).ok_or(LoadError::NoLoader)?;
                let loaded = self.inner.load_unless(seen, key, Wish::default(), load);
                Box::pin(loaded).await
            }
        }
    }
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    pub(super) async fn get_or_load_with<F, Fut, R, E>(
        self: &Arc<Self>,
        key: &K,
        wish: Wish,
        loader: F,
    ) -> Result<Lookup<V>, LoadError>
    where
        F: FnOnce(LoadContext<K, V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<V>> + 'static,
        E: Into<BoxError> + 'static,
    {
        self.get_or_load_boxed(key, wish, load_of(loader)).await
    }

    pub(super) async fn get_or_load_boxed(
        self: &Arc<Self>,
        key: &K,
        wish: Wish,
        load: Load<K, V>,
    ) -> Result<Lookup<V>, LoadError> {
        if wish.tiers == TierSet::NONE {
            return self.load_alone(key, wish, load).await;
        }
        let seen = if wish.tiers.contains(TierKind::Memory) {
            self.read_memory(key)
        } else {
            Seen::Nothing
        };
        self.load_unless(seen, key, wish, load).await
    }

    /// Answers by what memory has; loads when that does not do.
    async fn load_unless(
        self: &Arc<Self>,
        seen: Seen<V>,
        key: &K,
        wish: Wish,
        load: Load<K, V>,
    ) -> Result<Lookup<V>, LoadError> {
        match seen {
            Seen::Fresh(value) => Ok(Lookup::hit(value, TierKind::Memory)),
            Seen::Due(value) => {
                self.refresh(key, &value, wish, load);
                Ok(Lookup::hit(value, TierKind::Memory))
            }
            Seen::Stale(value) => {
                self.refresh(key, &value, wish, load);
                self.served_stale(key, StaleReason::Revalidating);
                Ok(Lookup::stale(value, TierKind::Memory))
            }
            Seen::Quiet(value) => {
                self.served_stale(key, StaleReason::Error);
                Ok(Lookup::stale(value, TierKind::Memory))
            }
            Seen::Absent => Ok(Lookup::Absent),
            Seen::Fallback(value) => self.flight(key, wish, load, Some(value)).await,
            Seen::Gone | Seen::Nothing => self.flight(key, wish, load, None).await,
        }
    }

    /// Loads past the cache: by a flight that nobody can join.
    async fn load_alone(
        self: &Arc<Self>,
        key: &K,
        wish: Wish,
        load: Load<K, V>,
    ) -> Result<Lookup<V>, LoadError> {
        let token = self.floors.token();
        let (waiter, seat) = Arc::new(Flights::new(1)).join(key, token, |_| false);
        if let Some(seat) = seat {
            let ask = Ask::new(key.clone(), key_hash(key, self.id), token, wish);
            let tasks = &self.common.tasks;
            drop(tasks.spawn(Arc::clone(self).fly(seat, ask, load)));
        }
        waiter.outcome().await
    }

    /// Joins the flight of the key or begins one, and waits for its end.
    async fn flight(
        self: &Arc<Self>,
        key: &K,
        wish: Wish,
        load: Load<K, V>,
        fallback: Option<Cached<V>>,
    ) -> Result<Lookup<V>, LoadError> {
        let wish = wish.within(self.tiers);
        let hash = key_hash(key, self.id);
        let known = self.known_tags(key, &wish.options);
        let mut load = Some(load);
        let mut token = self.floors.token();
        let asked = token.local;
        let mut was_early = false;
        loop {
            // Such a flight has missed nothing that this caller could know of.
            let mut since = true;
            let joins = |begun: &Token| {
                since = begun.local >= asked;
                since || !was_early && self.may_join(hash, &known, begun)
            };
            let (waiter, seat) = self.flights.join(key, token, joins);
            let own = seat.is_some();
            if let Some((seat, load)) = seat.and_then(|seat| Some((seat, load.take()?))) {
                let mut ask = Ask::new(key.clone(), hash, token, wish.clone());
                ask.session = self.session();
                // CANCEL: the task owns the seat, so a caller who goes away neither ends the load nor
                // leaves the key blocked.
                drop(
                    self.common
                        .tasks
                        .spawn(Arc::clone(self).fly(seat, ask, load)),
                );
            } else {
                self.meter.coalesced.add();
            }
            let outcome = self.wait(waiter, key, fallback.as_ref(), wish.tiers).await;
            if own || since || !self.came_too_early(key, &outcome) {
                return outcome;
            }
            // It was begun before a tag of what it brought was invalidated, which only its loader
            // could know. The next one is not, and all who are in this place share it.
            was_early = true;
            token = self.floors.token();
        }
    }

    /// Whether what another caller's flight brought may have been invalidated since that flight began.
    fn came_too_early(&self, key: &K, outcome: &Result<Lookup<V>, LoadError>) -> bool {
        let standing = |value: &Cached<V>| self.standing_of(&value.entry().meta);
        match outcome {
            Ok(Lookup::Loaded { value } | Lookup::Hit { value, .. }) => {
                standing(value) != Standing::Valid
            }
            Ok(Lookup::Stale { value, .. }) => standing(value) == Standing::Removed,
            // Its tags are known only where it was kept.
            Ok(Lookup::Absent) => !matches!(self.look(key), Seen::Absent),
            Ok(Lookup::Miss) | Err(_) => false,
        }
    }

    /// Waits for the end of a flight, no longer than the policy lets a caller wait who could have an
    /// old value; the flight goes on.
    pub(super) async fn wait(
        &self,
        waiter: Waiter<V>,
        key: &K,
        fallback: Option<&Cached<V>>,
        tiers: TierSet,
    ) -> Result<Lookup<V>, LoadError> {
        let (outcome, slow) = self.wait_patiently(waiter, key, fallback, tiers).await;
        if let Ok(Lookup::Stale { value, .. }) = &outcome {
            let reason = if slow {
                StaleReason::Slow
            } else {
                self.why_stale(value)
            };
            self.served_stale(key, reason);
        }
        outcome
    }

    /// The outcome, and whether the caller was given an old value because the flight takes too long.
    async fn wait_patiently(
        &self,
        waiter: Waiter<V>,
        key: &K,
        fallback: Option<&Cached<V>>,
        tiers: TierSet,
    ) -> (Result<Lookup<V>, LoadError>, bool) {
        let outcome = waiter.outcome();
        let patience = self.policy.soft_timeout;
        let Some(patience) = patience.filter(|_| tiers.contains(TierKind::Memory)) else {
            return (outcome.await, false);
        };
        pin!(outcome);
        if let Ok(outcome) = tokio::time::timeout(patience, &mut outcome).await {
            return (outcome, false);
        }
        // The flight may have found one below meanwhile; what was removed meanwhile is none.
        let old = match self.look(key) {
            Seen::Fresh(value) | Seen::Due(value) => {
                return (Ok(Lookup::hit(value, TierKind::Memory)), false);
            }
            Seen::Absent => None,
            Seen::Gone | Seen::Nothing => fallback
                .filter(|value| self.standing_of(&value.entry().meta) != Standing::Removed)
                .cloned(),
            seen => seen.fallback(),
        };
        match old {
            Some(value) => (Ok(Lookup::stale(value, TierKind::Memory)), true),
            None => (outcome.await, false),
        }
    }

    /// Loads in the background what `value` is to be replaced by, unless that is under way.
    pub(super) fn refresh(
        self: &Arc<Self>,
        key: &K,
        value: &Cached<V>,
        wish: Wish,
        load: Load<K, V>,
    ) {
        let meta = &value.entry().meta;
        let token = self.floors.token();
        let joins = |begun: &_| self.may_join(meta.key, &meta.tags, begun);
        let (_, seat) = self.flights.join(key, token, joins);
        if let Some(seat) = seat {
            self.meter.refreshes_started.add();
            let wish = wish.within(self.tiers);
            let mut ask = Ask::new(key.clone(), meta.key, token, wish);
            ask.replaces = Some(meta.times.filled);
            drop(
                self.common
                    .tasks
                    .spawn(Arc::clone(self).fly(seat, ask, load)),
            );
        }
    }

    /// As [`refresh`](Self::refresh) with the registered loader, if there is one.
    pub(super) fn refresh_registered(self: &Arc<Self>, key: &K) {
        if let Some(load) = self.registered(key)
            && let Some(value) = self.look(key).fallback()
        {
            self.refresh(key, &value, Wish::default(), load);
        }
    }

    /// The registered loader, for one load of the key.
    pub(crate) fn registered(&self, key: &K) -> Option<Load<K, V>> {
        let loader = Arc::clone(self.loader.as_ref()?);
        let key = key.clone();
        Some(Box::new(move |context| loader(key, context)))
    }

    /// The tags of the key that are known before anything is loaded.
    pub(crate) fn known_tags(&self, key: &K, options: &EntryOptions) -> Vec<u64> {
        let mut tags = self.groups.of(key);
        tags.extend(options.tags.iter().map(|tag| tag.hash));
        tags
    }
}
