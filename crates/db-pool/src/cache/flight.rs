//! One query at a time per key: the others wait for its result, and take over if its caller goes away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

type Key = Arc<[u8]>;

/// The queries under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arc<Semaphore>>>);

/// What a caller has to do.
pub(super) enum Seat<'a> {
    /// Ask the database.
    Leader(Leader<'a>),
    /// Somebody does; wait, then look again.
    Follower(Follower),
}

impl Flights {
    pub(super) fn join(&self, key: &Key) -> Seat<'_> {
        let mut under_way = self.under_way();
        if let Some(end) = under_way.get(key) {
            return Seat::Follower(Follower(Arc::clone(end)));
        }
        // Never given out, only closed.
        let end = Arc::new(Semaphore::new(0));
        under_way.insert(Arc::clone(key), Arc::clone(&end));
        Seat::Leader(Leader {
            flights: self,
            key: Arc::clone(key),
            end,
        })
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes all followers when dropped, however that comes.
pub(super) struct Leader<'a> {
    flights: &'a Flights,
    key: Key,
    end: Arc<Semaphore>,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.flights.under_way().remove(&self.key);
        self.end.close();
    }
}

pub(super) struct Follower(Arc<Semaphore>);

impl Follower {
    pub(super) async fn wait(self) {
        // Ends by being closed.
        let _ = self.0.acquire().await;
    }
}
