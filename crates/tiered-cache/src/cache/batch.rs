//! One flight for several keys: each tier below is asked for all of them, the loader runs once, and each
//! key has its own end.

use std::{collections::HashMap, mem, sync::Arc};

use futures_util::{StreamExt, future::BoxFuture, stream};

use super::{
    Inner, LoadContext,
    below::Below,
    fly::{Ask, Landing, newer},
    load::Wish,
    run::Ran,
};
use crate::{
    cached::{Cached, Lookup, TierKind, TierSet},
    coherence::Token,
    error::BoxError,
    flight::{Seat, Waiter},
    key::{CacheKey, key_hash},
    policy::Loaded,
    stats::Outcome,
    tier::{EntryKey, TierScope},
};

/// A loader for several keys.
pub(crate) type LoadMany<K, V> = Box<
    dyn FnOnce(Vec<LoadContext<K, V>>) -> BoxFuture<'static, Result<Vec<(K, Loaded<V>)>, BoxError>>
        + Send,
>;

/// One key of a flight for several.
pub(super) struct Passenger<K: CacheKey, V> {
    seat: Seat<K, V>,
    ask: Ask<K>,
    /// The newest old value so far.
    old: Option<Cached<V>>,
}

/// A key to be looked for below memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought<'a, K> {
    pub(super) key: &'a K,
    pub(super) hash: u64,
    /// Taken before anything was read.
    pub(super) token: Token,
    /// In the tiers of this scope alone.
    pub(super) only: Option<TierScope>,
}

impl<K: CacheKey, V: Send + Sync + 'static> Inner<K, V> {
    /// Joins the flight of the key, or takes a seat for it; `old` is what the load is to replace.
    pub(super) fn board(
        &self,
        key: &K,
        old: Option<&Cached<V>>,
    ) -> (Waiter<V>, Option<Passenger<K, V>>) {
        let hash = key_hash(key, self.id);
        let wish = Wish::default().within(self.tiers);
        let known = self.known_tags(key, &wish.options);
        let token = self.floors.token();
        // If anything at all was invalidated since that flight began, its tags, which only its loader
        // knows, might be among it; and the loader of this call is used up when that comes out.
        let joins =
            |begun: &Token| begun.local >= token.local && self.may_join(hash, &known, begun);
        let (waiter, seat) = self.flights.join(key, token, joins);
        let passenger = seat.map(|seat| {
            let mut ask = Ask::new(key.clone(), hash, token, wish);
            ask.replaces = old.map(|old| old.entry().meta.times.filled);
            if old.is_some() {
                self.meter.refreshes_started.add();
            }
            Passenger {
                seat,
                ask,
                old: None,
            }
        });
        (waiter, passenger)
    }

    /// As `fly`, for several keys. A task that is dropped gives every seat back.
    pub(super) async fn fly_many(
        self: Arc<Self>,
        aboard: Vec<Passenger<K, V>>,
        load: LoadMany<K, V>,
    ) {
        let aboard = self.answered_in_memory(aboard);
        let mut aboard = self.answered_below(aboard).await;
        let mut leased = Vec::new();
        let asks: Vec<_> = aboard.iter().map(|one| &one.ask).collect();
        if self.turns(&asks, &mut leased).await {
            aboard = self.answered_below(aboard).await;
        }
        if aboard.is_empty() {
            return;
        }
        let filled = self.clock.exact_ms();
        let missing = aboard.iter();
        let missing = missing.map(|one| (one.ask.key.clone(), one.old.clone()));
        let (result, took) = self.run_many(missing.collect(), load).await;
        let mut result = result.map(|loaded| loaded.into_iter().collect::<HashMap<_, _>>());
        let mut writes = Vec::new();
        for Passenger { seat, ask, old } in aboard {
            let result = match &mut result {
                Ok(loaded) => Ok(loaded.remove(&ask.key).unwrap_or_else(Loaded::absent)),
                Err(error) => Err(error.clone()),
            };
            let landing = self.landing(&ask, old, filled, Ran { result, took });
            if let Some(write) = self.land(seat, &ask, landing) {
                writes.push((ask, write));
            }
        }
        // Everybody has an answer by now: nobody waits for Redis or a disk.
        stream::iter(writes)
            .for_each_concurrent(WRITES_AT_ONCE, |(ask, write)| {
                let inner = Arc::clone(&self);
                async move { inner.write_below(&ask, write).await }
            })
            .await;
        // Those who waited for them find the values below now.
        drop(leased);
    }

    /// Those for whom no other flight has landed between the call's look and its seats.
    fn answered_in_memory(&self, aboard: Vec<Passenger<K, V>>) -> Vec<Passenger<K, V>> {
        let mut left = Vec::with_capacity(aboard.len());
        for mut one in aboard {
            match self.held(&one.ask) {
                Ok(old) => {
                    one.old = old;
                    left.push(one);
                }
                Err(answer) => one.seat.land(Ok(answer)),
            }
        }
        left
    }

    /// Those for whom the tiers below have no answer, and whose load has not just failed.
    async fn answered_below(
        self: &Arc<Self>,
        aboard: Vec<Passenger<K, V>>,
    ) -> Vec<Passenger<K, V>> {
        let sought: Vec<_> = aboard.iter().map(|one| one.ask.sought()).collect();
        let found = self
            .find_below_many(&sought, TierSet::ALL.and(self.tiers))
            .await;
        let mut left = Vec::with_capacity(aboard.len());
        for (mut one, below) in aboard.into_iter().zip(found) {
            let answer = match below {
                Below::Fresh(entry, tier) if one.ask.is_news(entry.meta.times.filled) => {
                    Some(Ok(Lookup::hit(Cached::new(entry, false), tier)))
                }
                Below::Absent(_) => Some(Ok(Lookup::Absent)),
                Below::Stale(entry, tier) if one.ask.replaces.is_none() => {
                    let old = Cached::new(entry, true);
                    one.seat.land(Ok(Lookup::stale(old.clone(), tier)));
                    // Its load is still to be made, and goes along with the others'.
                    left.extend(self.board(&one.ask.key, Some(&old)).1.map(|mut again| {
                        again.old = Some(old);
                        again
                    }));
                    continue;
                }
                Below::Fallback(entry) => {
                    one.old = newer(one.old, Cached::new(entry, true));
                    None
                }
                Below::Fresh(..) | Below::Stale(..) | Below::Nothing => None,
            };
            let answer = answer.or_else(|| self.failed_before(&one.ask).map(Err));
            match answer {
                Some(answer) => {
                    self.land(one.seat, &one.ask, Landing::Answer(answer));
                }
                None => left.push(one),
            }
        }
        left
    }

    /// As `find_below`, for several keys: each tier is asked once for all that no tier before it has
    /// answered, in slices of 512.
    pub(super) async fn find_below_many(
        &self,
        sought: &[Sought<'_, K>],
        tiers: TierSet,
    ) -> Vec<Below<V>> {
        let mut best: Vec<Below<V>> = sought.iter().map(|_| Below::Nothing).collect();
        let Some(lower) = &self.lower else {
            return best;
        };
        let names = sought.iter();
        let names: Vec<_> = names
            .map(|one| Some((self.entry_key(one.key, one.hash)?, self.groups.of(one.key))))
            .collect();
        for tier in lower
            .tiers
            .iter()
            .filter(|tier| tiers.contains(tier.kind()))
        {
            let mut open = Vec::new();
            for (at, one) in sought.iter().enumerate() {
                let Some((name, implied)) = &names[at] else {
                    continue;
                };
                if best[at].is_answer() || one.only.is_some_and(|scope| scope != tier.scope()) {
                    continue;
                }
                if self.closed_off(tier.scope(), one.hash, implied) {
                    self.meter.read(tier.kind(), Outcome::Bypassed);
                } else {
                    open.push((at, name, implied));
                }
            }
            for slice in open.chunks(KEYS_AT_ONCE) {
                let keys: Vec<EntryKey> =
                    slice.iter().map(|(_, name, _)| (*name).clone()).collect();
                let reads = tier.read_many(&keys).await;
                for (&(at, name, implied), read) in slice.iter().zip(reads) {
                    let found = self.judge(lower, tier, name, read, sought[at].token, implied);
                    best[at] = mem::replace(&mut best[at], Below::Nothing).or(found);
                }
            }
        }
        if tiers.contains(TierKind::Memory) {
            for (one, found) in sought.iter().zip(&best) {
                self.promote(one.key, found);
            }
        }
        best
    }
}

impl<K> Ask<K> {
    fn sought(&self) -> Sought<'_, K> {
        Sought {
            key: &self.key,
            hash: self.hash,
            token: self.token,
            only: self.replaces.map(|_| TierScope::Shared),
        }
    }
}

/// As many as one command to Redis should hold up the others for.
const KEYS_AT_ONCE: usize = 512;
const WRITES_AT_ONCE: usize = 64;
