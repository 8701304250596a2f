//! Single flight: one load per key, shared by all who ask while it runs.
//!
//! Of our own, because the guards of map libraries join older flights and are orphaned by a removal:
//! here who asks after an invalidation starts a new flight, and the older one only answers those that
//! asked before.

mod bulkhead;

pub(crate) use bulkhead::Bulkhead;

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::Notify, time::Instant};

use crate::{cached::Lookup, coherence::Token, error::LoadError, key::CacheKey};

/// What a flight ends with.
pub(crate) type Outcome<V> = Result<Lookup<V>, LoadError>;

/// The loads that are under way, the newest for each key.
///
/// Who holds the seat of a flight bounds how long it takes; the flights are as many as the keys that are
/// asked for at once.
pub(crate) struct Flights<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
}

type Shard<K, V> = Mutex<HashMap<K, Flight<V>, RandomState>>;

struct Flight<V> {
    token: Token,
    begun: Instant,
    end: Arc<End<V>>,
}

/// Where the outcome of one flight appears; its address is the flight's identity.
struct End<V> {
    outcome: OnceLock<Outcome<V>>,
    // Its waiters are links of a list inside their own futures: ten thousand of them allocate nothing,
    // and are woken in the order in which they came.
    landed: Notify,
}

/// The right and duty to end a flight. Dropping it frees the key and gives the waiters
/// [`LoadError::Aborted`].
pub(crate) struct Seat<K: CacheKey, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    end: Arc<End<V>>,
    outcome: Outcome<V>,
}

/// A place among the waiters of a flight.
pub(crate) struct Waiter<V>(Arc<End<V>>);

impl<K: CacheKey, V> Flights<K, V> {
    /// `shards` is rounded up to a power of two.
    pub(crate) fn new(shards: usize) -> Self {
        let shards = 0..shards.next_power_of_two();
        Self {
            shards: shards.map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// Joins the flight of the key if `may_join` its token; else takes the seat of a new one, whose token
    /// is `token`, in the place of the older one, which then answers only those that wait for it.
    ///
    /// `may_join` runs under a lock that the flights of other keys share: it must be quick and ask for
    /// no flight.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &K,
        token: Token,
        may_join: impl FnOnce(&Token) -> bool,
    ) -> (Waiter<V>, Option<Seat<K, V>>) {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key)
            && may_join(&flight.token)
        {
            return (Waiter(Arc::clone(&flight.end)), None);
        }
        let end = Arc::new(End {
            outcome: OnceLock::new(),
            landed: Notify::new(),
        });
        let flight = Flight {
            token,
            begun: Instant::now(),
            end: Arc::clone(&end),
        };
        shard.insert(key.clone(), flight);
        let seat = Seat {
            flights: Arc::clone(self),
            key: key.clone(),
            end: Arc::clone(&end),
            outcome: Err(LoadError::Aborted),
        };
        (Waiter(end), Some(seat))
    }

    /// How many keys have a flight.
    pub(crate) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).len()).sum()
    }

    /// The age of the oldest flight that may still be joined; looks at all of them.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let oldest = |shard| {
            lock::<K, V>(shard)
                .values()
                .map(|flight| flight.begun)
                .min()
        };
        let begun = self.shards.iter().filter_map(oldest).min();
        begun.map(|begun| begun.elapsed())
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, HashMap<K, Flight<V>, RandomState>> {
        // Each map has a seed of its own, so this uses up no bits of its hashes.
        let hash = self.hasher.hash_one(key) as usize;
        lock(&self.shards[hash & (self.shards.len() - 1)])
    }

    fn free(&self, key: &K, end: &Arc<End<V>>) {
        let mut shard = self.shard(key);
        // A newer flight may hold the key by now: it stays.
        let own = shard
            .get(key)
            .is_some_and(|flight| Arc::ptr_eq(&flight.end, end));
        let freed = if own { shard.remove_entry(key) } else { None };
        if shard.is_empty() && shard.capacity() > SPARE_MAX {
            *shard = HashMap::default();
        }
        drop(shard);
        // The key's own code runs outside the lock.
        drop(freed);
    }
}

impl<K: CacheKey, V> Seat<K, V> {
    /// Frees the key, then answers every waiter: who asks after an answer was given must not be given the
    /// same answer again.
    pub(crate) fn land(mut self, outcome: Outcome<V>) {
        self.outcome = outcome;
    }
}

impl<K: CacheKey, V> Drop for Seat<K, V> {
    fn drop(&mut self) {
        self.flights.free(&self.key, &self.end);
        let outcome = std::mem::replace(&mut self.outcome, Err(LoadError::Aborted));
        // A flight has one seat, so nobody has set it before.
        let _ = self.end.outcome.set(outcome);
        self.end.landed.notify_waiters();
    }
}

impl<V> Waiter<V> {
    /// Waits for the end of the flight. Dropping the future leaves the flight alone.
    pub(crate) async fn outcome(self) -> Outcome<V> {
        // Made before the look, so that a landing in between is not missed.
        let landed = self.0.landed.notified();
        if let Some(outcome) = self.0.outcome.get() {
            return outcome.clone();
        }
        landed.await;
        let outcome = self.0.outcome.get().cloned();
        outcome.unwrap_or(Err(LoadError::Aborted))
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

fn lock<K, V>(shard: &Shard<K, V>) -> MutexGuard<'_, HashMap<K, Flight<V>, RandomState>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map that grew beyond this gives its memory back when it is empty again.
const SPARE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coherence::Floors;

    fn flights() -> Arc<Flights<u32, u32>> {
        Arc::new(Flights::new(4))
    }

    fn token() -> Token {
        Floors::new(1).token()
    }

    fn later(token: Token) -> Token {
        Token {
            local: token.local + 1,
            ..token
        }
    }

    fn absent<T>(outcome: &Result<Lookup<T>, LoadError>) -> bool {
        matches!(outcome, Ok(Lookup::Absent))
    }

    #[tokio::test]
    async fn all_who_ask_while_it_flies_get_the_outcome() {
        let flights = flights();
        let (first, seat) = flights.join(&1, token(), |_| true);
        let (second, none) = flights.join(&1, token(), |_| true);
        assert!(none.is_none());
        let early = tokio::spawn(second.outcome());
        tokio::task::yield_now().await;
        seat.expect("the first has the seat")
            .land(Ok(Lookup::Absent));
        assert!(absent(&early.await.expect("no panic")));
        assert!(absent(&first.outcome().await), "who looks late sees it too");
    }

    #[tokio::test]
    async fn who_may_not_join_flies_anew_and_the_older_flight_answers_its_own() {
        let flights = flights();
        let old = token();
        let (first, old_seat) = flights.join(&1, old, |_| true);
        let (second, new_seat) = flights.join(&1, later(old), |token| *token != old);
        let new_seat = new_seat.expect("it may not join");
        old_seat.expect("the first").land(Ok(Lookup::Absent));
        assert!(absent(&first.outcome().await));
        let (third, none) = flights.join(&1, later(old), |token| *token == later(old));
        assert!(
            none.is_none(),
            "an older seat does not free a newer flight's key"
        );
        new_seat.land(Ok(Lookup::Miss));
        assert!(matches!(second.outcome().await, Ok(Lookup::Miss)));
        assert!(matches!(third.outcome().await, Ok(Lookup::Miss)));
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn the_key_is_free_before_the_answer_is_given() {
        let flights = flights();
        let (waiter, seat) = flights.join(&1, token(), |_| true);
        let again = {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move {
                let outcome = waiter.outcome().await;
                (outcome, flights.join(&1, token(), |_| true).1.is_some())
            })
        };
        tokio::task::yield_now().await;
        seat.expect("the first").land(Ok(Lookup::Absent));
        let (outcome, new_seat) = again.await.expect("no panic");
        assert!(absent(&outcome) && new_seat);
    }

    #[tokio::test]
    async fn dropping_the_seat_frees_the_key_and_tells_the_waiters() {
        let flights = flights();
        let (waiter, seat) = flights.join(&1, token(), |_| true);
        let waiting = tokio::spawn(waiter.outcome());
        tokio::task::yield_now().await;
        drop(seat);
        let outcome = waiting.await.expect("no panic");
        assert!(matches!(outcome, Err(LoadError::Aborted)));
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_the_oldest_flight_is_known() {
        let flights = flights();
        assert_eq!(flights.oldest(), None);
        let (_waiter, first) = flights.join(&1, token(), |_| true);
        tokio::time::advance(Duration::from_secs(5)).await;
        let (_waiter, second) = flights.join(&2, token(), |_| true);
        assert_eq!(flights.oldest(), Some(Duration::from_secs(5)));
        drop(first);
        assert_eq!(flights.oldest(), Some(Duration::ZERO));
        drop(second);
        assert_eq!(flights.oldest(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_ten_thousand_one_flies_and_all_are_answered() {
        let flights = flights();
        let tasks = (0..10_000).map(|_| {
            let flights = Arc::clone(&flights);
            tokio::spawn(async move {
                let (waiter, seat) = flights.join(&1, token(), |_| true);
                let flew = seat.is_some();
                if let Some(seat) = seat {
                    // Until all have joined: each holds the end of the flight once.
                    while Arc::strong_count(&seat.end) < 10_002 {
                        tokio::task::yield_now().await;
                    }
                    seat.land(Ok(Lookup::Absent));
                }
                assert!(absent(&waiter.outcome().await));
                flew
            })
        });
        let flew = futures_util::future::join_all(tasks).await;
        let flew = flew
            .into_iter()
            .filter(|flew| *flew.as_ref().expect("no panic"));
        assert_eq!(flew.count(), 1);
    }
}
