//! How long connections are held, by the place that borrowed them, and how much of it they work.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::buckets::{Buckets, nanos};

/// One place that borrows connections, in numbers since the pool opened.
///
/// A borrowed connection that no statement runs on waits for the program: for a cache, another service, a lock. When
/// [`query_share`](Self::query_share) is low, fewer connections would do if they were borrowed later or returned
/// earlier there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallSite {
    /// The place as `file:line:column`.
    pub at: String,
    /// How often a connection was returned that had been borrowed there.
    pub holds: u64,
    /// How long they were held, together.
    #[serde(serialize_with = "super::seconds")]
    pub held: Duration,
    /// How long half of them were held at most, roughly.
    #[serde(serialize_with = "super::seconds")]
    pub held_p50: Duration,
    /// How long 95 of 100 were held at most, roughly.
    #[serde(serialize_with = "super::seconds")]
    pub held_p95: Duration,
    /// How long 99 of 100 were held at most, roughly.
    #[serde(serialize_with = "super::seconds")]
    pub held_p99: Duration,
    /// The longest hold.
    #[serde(serialize_with = "super::seconds")]
    pub held_max: Duration,
    /// How much of that time a statement was under way.
    #[serde(serialize_with = "super::seconds")]
    pub querying: Duration,
    /// How many statements ran on them.
    pub statements: u64,
}

impl CallSite {
    /// The part of the time, from 0 to 1, in which the borrowed connection worked; `None` before the first return.
    pub fn query_share(&self) -> Option<f64> {
        share(self.querying, self.held)
    }
}

/// How much `part` is of `whole`; `None` of nothing.
pub(crate) fn share(part: Duration, whole: Duration) -> Option<f64> {
    (!whole.is_zero()).then(|| (part.as_secs_f64() / whole.as_secs_f64()).min(1.0))
}

/// One place while the program runs.
pub(super) struct Site {
    at: &'static Location<'static>,
    held: Buckets,
    held_max: AtomicU64,
    querying: AtomicU64,
    statements: AtomicU64,
}

impl Site {
    fn new(at: &'static Location<'static>) -> Self {
        Self {
            at,
            held: Buckets::default(),
            held_max: AtomicU64::new(0),
            querying: AtomicU64::new(0),
            statements: AtomicU64::new(0),
        }
    }

    /// Counts one hold that has ended.
    pub(super) fn record(&self, held: Duration, querying: Duration, statements: u64) {
        self.held.record(held);
        let held = nanos(held);
        if held > self.held_max.load(Relaxed) {
            self.held_max.fetch_max(held, Relaxed);
        }
        if statements > 0 || !querying.is_zero() {
            self.querying.fetch_add(nanos(querying), Relaxed);
            self.statements.fetch_add(statements, Relaxed);
        }
    }

    fn snapshot(&self) -> CallSite {
        CallSite {
            at: self.at.to_string(),
            holds: self.held.count(),
            held: self.held.total(),
            held_p50: self.held.quantile(0.5),
            held_p95: self.held.quantile(0.95),
            held_p99: self.held.quantile(0.99),
            held_max: Duration::from_nanos(self.held_max.load(Relaxed)),
            querying: Duration::from_nanos(self.querying.load(Relaxed)),
            statements: self.statements.load(Relaxed),
        }
    }
}

/// All places of one pool.
#[derive(Default)]
pub(crate) struct Sites(Mutex<HashMap<Address, Arc<Site>>>);

/// Where a location lies in memory: the cheapest key there is. The compiler may keep one place twice; the snapshot
/// then shows it twice.
pub(super) type Address = usize;

pub(super) fn address(at: &'static Location<'static>) -> Address {
    std::ptr::from_ref(at).addr()
}

impl Sites {
    /// `None` if there are too many places already.
    pub(super) fn site(&self, at: &'static Location<'static>) -> Option<Arc<Site>> {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(&address(at)) {
            return Some(Arc::clone(site));
        }
        if sites.len() >= MOST_SITES {
            return None;
        }
        let site = Arc::new(Site::new(at));
        sites.insert(address(at), Arc::clone(&site));
        Some(site)
    }

    /// All of them, those that held connections longest first.
    pub(crate) fn snapshot(&self) -> Vec<CallSite> {
        let sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = sites.values().map(|site| site.snapshot()).collect();
        drop(sites);
        all.retain(|site| site.holds > 0);
        all.sort_by(|one, other| {
            other
                .held
                .cmp(&one.held)
                .then_with(|| one.at.cmp(&other.at))
        });
        all
    }
}

/// Places are places in the program's text, so no program comes near.
const MOST_SITES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_of_one_place_are_added_up() {
        let sites = Sites::default();
        let (here, there) = (Location::caller(), other_place());
        for (at, held, querying) in [(here, 10, 2), (here, 30, 8), (there, 90, 90)] {
            let site = sites.site(at).expect("there is room");
            let millis = Duration::from_millis;
            site.record(millis(held), millis(querying), 3);
        }
        let [first, second] = sites.snapshot().try_into().expect("two places");
        assert_eq!(first.at, there.to_string());
        assert_eq!(first.query_share(), Some(1.0));
        assert_eq!((second.holds, second.statements), (2, 6));
        assert_eq!(second.held, Duration::from_millis(40));
        assert_eq!(second.held_max, Duration::from_millis(30));
        assert_eq!(second.query_share(), Some(0.25));
    }

    #[track_caller]
    fn other_place() -> &'static Location<'static> {
        Location::caller()
    }
}
