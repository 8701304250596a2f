//! Single flight: one load per key, shared by all who ask while it runs.
//!
//! Of our own, because the guards of map libraries join older flights: here who asks after an
//! invalidation starts a new flight, and the older one only answers those that asked before.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use crate::{error::LoadError, key::CacheKey, old_lookup::Lookup};

/// What a flight ends with.
pub(crate) type Outcome<V> = Result<Lookup<V>, LoadError>;

type Slot<V> = Option<Outcome<V>>;

/// The loads that are under way, one per key; each ends within the load timeout, whether its callers
/// still wait or not.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    map: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    next: u64,
    flights: HashMap<K, Flight<V>>,
}

#[derive(Debug)]
struct Flight<V> {
    id: u64,
    token: u64,
    result: watch::Receiver<Slot<V>>,
}

/// The right and duty to end a flight; dropping it frees the key and tells the waiters.
pub(crate) struct Seat<K: CacheKey, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
    id: u64,
    result: watch::Sender<Slot<V>>,
}

/// A place among the waiters of a flight.
pub(crate) struct Waiter<V>(watch::Receiver<Slot<V>>);

impl<K: CacheKey, V> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            map: Mutex::new(State {
                next: 0,
                flights: HashMap::new(),
            }),
        }
    }

    /// Joins the flight of the key if `may_join` its token; else takes the seat of a new one,
    /// whose token is `token`.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &K,
        token: u64,
        may_join: impl FnOnce(u64) -> bool,
    ) -> (Waiter<V>, Option<Seat<K, V>>) {
        let mut state = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = state.flights.get(key)
            && may_join(flight.token)
        {
            return (Waiter(flight.result.clone()), None);
        }
        let id = state.next;
        state.next += 1;
        let (sender, result) = watch::channel(None);
        state.flights.insert(
            key.clone(),
            Flight {
                id,
                token,
                result: result.clone(),
            },
        );
        let seat = Seat {
            flights: Arc::clone(self),
            key: key.clone(),
            id,
            result: sender,
        };
        (Waiter(result), Some(seat))
    }
}

impl<K: CacheKey, V> Seat<K, V> {
    /// Frees the key, then answers every waiter: who asks after an answer was given must not be
    /// given the same answer again.
    pub(crate) fn land(self, outcome: Outcome<V>) {
        self.free();
        self.result.send_replace(Some(outcome));
    }

    fn free(&self) {
        let mut state = self
            .flights
            .map
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A newer flight may hold the key by now: it stays.
        if state
            .flights
            .get(&self.key)
            .is_some_and(|flight| flight.id == self.id)
        {
            state.flights.remove(&self.key);
        }
    }
}

impl<K: CacheKey, V> Drop for Seat<K, V> {
    fn drop(&mut self) {
        self.free();
    }
}

impl<V> Waiter<V> {
    /// Waits for the end of the flight. Dropping the future leaves the flight alone.
    pub(crate) async fn outcome(mut self) -> Outcome<V> {
        match self.0.wait_for(Option::is_some).await {
            Ok(slot) => slot.clone().unwrap_or(Err(LoadError::Aborted)),
            // The seat went without landing: its task was dropped with the runtime.
            Err(_) => Err(LoadError::Aborted),
        }
    }
}
