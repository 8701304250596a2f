//! Every open connection of a pool: how old it is, when it last gave a sign of life, and who holds it since when.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::task;
use tokio::time::Instant;

/// All connections of one pool. Its lock is taken when one opens or closes and to look around, never to lend one.
#[derive(Default)]
pub(crate) struct Registry {
    seats: Mutex<Vec<Arc<Seat>>>,
    next: AtomicU64,
}

/// What is known of one connection; shared between it and the registry.
pub(crate) struct Seat {
    pub(crate) id: u64,
    /// Which set it belongs to.
    pub(crate) set: SetId,
    pub(crate) born: Instant,
    pub(crate) generation: u64,
    pub(crate) lifetime: Option<Lifetime>,
    state: Mutex<State>,
}

/// Connections are replaced between the two moments if possible, and not lent after the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime {
    pub(crate) replace_at: Instant,
    pub(crate) ends: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetId {
    Writers,
    Readers,
    /// Never lent: lanes, and the one for health checks.
    Apart,
}

struct State {
    hold: Option<Hold>,
    /// When it last came back.
    idle_since: Instant,
    /// When it last answered.
    alive: Instant,
    /// A replacement is there: closed as soon as it is idle.
    retired: bool,
}

/// One borrower.
#[derive(Clone, Copy)]
struct Hold {
    since: Instant,
    at: &'static Location<'static>,
    task: Option<task::Id>,
    recovering: bool,
    told: bool,
}

/// What a connection is doing, for whoever looks after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    pub(crate) id: u64,
    pub(crate) born: Instant,
    pub(crate) generation: u64,
    pub(crate) replace_at: Option<Instant>,
    pub(crate) since: Instant,
    pub(crate) alive: Instant,
    pub(crate) retired: bool,
    pub(crate) lent: bool,
}

/// What ended when a connection came back.
pub(crate) struct Ended {
    pub(crate) held: Duration,
    pub(crate) at: &'static Location<'static>,
    /// It had been told as a leak.
    pub(crate) was_told: bool,
    pub(crate) retired: bool,
}

/// Somebody who holds a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// The number of the connection, counted from 1 as they were opened.
    pub connection: u64,
    /// For how long.
    #[serde(serialize_with = "crate::observe::seconds")]
    pub held: Duration,
    /// Where it was borrowed.
    #[serde(serialize_with = "place")]
    pub at: &'static Location<'static>,
    /// The borrower has gone and the connection is being repaired.
    pub recovering: bool,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held, at, .. } = self;
        let millis = Duration::from_millis(u64::try_from(held.as_millis()).unwrap_or(u64::MAX));
        write!(f, "{at} for {}", humantime::format_duration(millis))?;
        f.write_str(if self.recovering { " (abandoned)" } else { "" })
    }
}

fn place<S: Serializer>(at: &&'static Location<'static>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

impl Registry {
    pub(crate) fn open(
        &self,
        set: SetId,
        generation: u64,
        now: Instant,
        lifetime: Option<Lifetime>,
    ) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            id: self.next.fetch_add(1, Relaxed) + 1,
            set,
            born: now,
            generation,
            lifetime,
            state: Mutex::new(State {
                hold: None,
                idle_since: now,
                alive: now,
                retired: false,
            }),
        });
        self.seats().push(Arc::clone(&seat));
        seat
    }

    pub(crate) fn close(&self, id: u64) {
        let mut seats = self.seats();
        if let Some(at) = seats.iter().position(|seat| seat.id == id) {
            seats.swap_remove(at);
        }
    }

    /// Open connections, those in use, and those being repaired.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let seats = self.seats();
        let holds = || seats.iter().filter_map(|seat| seat.state().hold);
        let recovering = holds().filter(|hold| hold.recovering).count();
        (seats.len(), holds().count(), recovering)
    }

    /// Those who hold connections of `set` (of all, if `None`), the longest first, at most `most`.
    pub(crate) fn holders(&self, set: Option<SetId>, now: Instant, most: usize) -> Vec<Holder> {
        let seats = self.seats();
        let wanted = seats
            .iter()
            .filter(|seat| set.is_none_or(|set| set == seat.set));
        let mut holders: Vec<_> = wanted
            .filter_map(|seat| {
                let hold = seat.state().hold?;
                Some(Holder {
                    connection: seat.id,
                    held: now.duration_since(hold.since),
                    at: hold.at,
                    recovering: hold.recovering,
                })
            })
            .collect();
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.held), holder.connection));
        holders.truncate(most);
        holders
    }

    /// Where the current task borrowed a connection that it still holds.
    pub(crate) fn held_by_this_task(&self, set: SetId) -> Option<&'static Location<'static>> {
        let me = task::try_id()?;
        let seats = self.seats();
        let mut mine = seats.iter().filter(|seat| seat.set == set);
        mine.find_map(|seat| {
            let hold = seat.state().hold?;
            (hold.task == Some(me) && !hold.recovering).then_some(hold.at)
        })
    }

    /// The holders that passed `limit` and were not told before.
    pub(crate) fn leaks(&self, now: Instant, limit: Duration) -> Vec<Holder> {
        let seats = self.seats();
        let late = seats.iter().filter_map(|seat| {
            let mut state = seat.state();
            let hold = state.hold.as_mut()?;
            let held = now.duration_since(hold.since);
            if hold.told || hold.recovering || held < limit {
                return None;
            }
            hold.told = true;
            Some(Holder {
                connection: seat.id,
                held,
                at: hold.at,
                recovering: false,
            })
        });
        late.collect()
    }

    pub(crate) fn of(&self, set: SetId) -> Vec<Idle> {
        let seats = self.seats();
        let of_set = seats.iter().filter(|seat| seat.set == set);
        of_set.map(|seat| seat.view()).collect()
    }

    /// Has a connection closed as soon as nobody uses it; `false` if it is closed or was told so before.
    pub(crate) fn retire(&self, id: u64) -> bool {
        self.seats()
            .iter()
            .find(|seat| seat.id == id)
            .is_some_and(|seat| !std::mem::replace(&mut seat.state().retired, true))
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        // Nothing panics under the lock, so a poisoned one protects as well.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Somebody holds the connection from now on; returns its last sign of life.
    pub(crate) fn lend(&self, now: Instant, at: &'static Location<'static>) -> (Instant, bool) {
        let mut state = self.state();
        state.hold = Some(Hold {
            since: now,
            at,
            task: task::try_id(),
            recovering: false,
            told: false,
        });
        (state.alive, state.retired)
    }

    /// It answered.
    pub(crate) fn answered(&self, now: Instant) {
        self.state().alive = now;
    }

    /// The borrower let go of it; whether it is fit is known later.
    pub(crate) fn recovering(&self) {
        if let Some(hold) = &mut self.state().hold {
            hold.recovering = true;
        }
    }

    /// Nobody holds it any more.
    pub(crate) fn come_back(&self, now: Instant) -> Option<Ended> {
        let mut state = self.state();
        let hold = state.hold.take()?;
        (state.idle_since, state.alive) = (now, now);
        Some(Ended {
            held: now.duration_since(hold.since),
            at: hold.at,
            was_told: hold.told,
            retired: state.retired,
        })
    }

    pub(crate) fn view(&self) -> Idle {
        let state = self.state();
        Idle {
            id: self.id,
            born: self.born,
            generation: self.generation,
            replace_at: self.lifetime.map(|lifetime| lifetime.replace_at),
            since: state.idle_since,
            alive: state.alive,
            retired: state.retired,
            lent: state.hold.is_some(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_told_once_and_known_when_it_comes_back() {
        let (registry, now) = (Registry::default(), Instant::now());
        let seat = registry.open(SetId::Writers, 0, now, None);
        seat.lend(now, Location::caller());
        let (later, limit) = (now + Duration::from_secs(31), Duration::from_secs(30));
        assert!(registry.leaks(now, limit).is_empty());
        let told = registry.leaks(later, limit);
        assert_eq!(told.len(), 1);
        assert!(told[0].to_string().contains("registry.rs:"), "{}", told[0]);
        assert!(told[0].to_string().ends_with(" for 31s"), "{}", told[0]);
        assert!(registry.leaks(later, limit).is_empty());
        assert!(seat.come_back(later).is_some_and(|ended| ended.was_told));
        assert!(seat.come_back(later).is_none());
    }

    #[test]
    fn holders_are_those_of_the_set_and_the_longest_come_first() {
        let (registry, now) = (Registry::default(), Instant::now());
        let seats: Vec<_> = (0..4)
            .map(|_| registry.open(SetId::Readers, 0, now, None))
            .collect();
        registry
            .open(SetId::Writers, 0, now, None)
            .lend(now, Location::caller());
        for (seconds, seat) in (0..).zip(&seats[..3]) {
            seat.lend(now + Duration::from_secs(seconds), Location::caller());
        }
        let later = now + Duration::from_secs(60);
        let ids = |most| -> Vec<u64> {
            let holders = registry.holders(Some(SetId::Readers), later, most);
            holders.iter().map(|holder| holder.connection).collect()
        };
        assert_eq!((ids(9), ids(1)), (vec![1, 2, 3], vec![1]));
        assert_eq!(registry.counts(), (5, 4, 0));
        registry.close(1);
        assert_eq!(ids(9), [2, 3]);
    }
}
