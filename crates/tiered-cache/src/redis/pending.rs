//! Removals that Redis has not confirmed: while one is pending, reads skip what it is about.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A bounded set of keys, and of whole caches where the keys would be too many.
#[derive(Debug)]
pub(super) struct Pending {
    state: Mutex<State>,
    /// Read without the lock by every read of Redis.
    count: AtomicUsize,
    keys_max: usize,
}

#[derive(Debug, Default)]
struct State {
    tickets: u64,
    keys: HashMap<String, u64>,
    caches: HashMap<String, u64>,
}

/// One removal; the ticket tells it from a later one of the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsettled {
    Key { key: String, ticket: u64 },
    Cache { prefix: String, ticket: u64 },
}

impl Pending {
    pub(super) fn new(keys_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            keys_max,
        }
    }

    pub(super) fn add_key(&self, key: String, prefix: impl FnOnce() -> String) -> u64 {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        if state.keys.len() >= self.keys_max && !state.keys.contains_key(&key) {
            // Too many to remember one by one: all of the cache goes. Its keys need no mark then.
            let prefix = prefix();
            state.keys.retain(|key, _| !key.starts_with(&prefix));
            state.caches.insert(prefix, ticket);
        } else {
            state.keys.insert(key, ticket);
        }
        self.publish(&state);
        ticket
    }

    pub(super) fn add_cache(&self, prefix: String) -> u64 {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.keys.retain(|key, _| !key.starts_with(&prefix));
        state.caches.insert(prefix, ticket);
        self.publish(&state);
        ticket
    }

    /// Redis has confirmed it. A later removal of the same key stays.
    pub(super) fn settled(&self, unsettled: &Unsettled) {
        let mut state = self.lock();
        let (map, name, ticket) = match unsettled {
            Unsettled::Key { key, ticket } => (&mut state.keys, key, ticket),
            Unsettled::Cache { prefix, ticket } => (&mut state.caches, prefix, ticket),
        };
        if map.get(name) == Some(ticket) {
            map.remove(name);
        }
        self.publish(&state);
    }

    pub(super) fn blocks(&self, key: &str, prefix: impl FnOnce() -> String) -> bool {
        if self.len() == 0 {
            return false;
        }
        let state = self.lock();
        state.keys.contains_key(key)
            || !state.caches.is_empty() && state.caches.contains_key(&prefix())
    }

    /// Up to `limit` of them, whole caches first.
    pub(super) fn some(&self, limit: usize) -> Vec<Unsettled> {
        let state = self.lock();
        let caches = state
            .caches
            .iter()
            .map(|(prefix, ticket)| Unsettled::Cache {
                prefix: prefix.clone(),
                ticket: *ticket,
            });
        let keys = state.keys.iter().map(|(key, ticket)| Unsettled::Key {
            key: key.clone(),
            ticket: *ticket,
        });
        caches.chain(keys).take(limit).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn publish(&self, state: &State) {
        self.count
            .store(state.keys.len() + state.caches.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
