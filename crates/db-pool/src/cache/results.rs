//! The results in memory: looked up by key, good for as long as their stamps hold and their time lasts.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quick_cache::sync::Cache;
use serde::Serialize;
use tokio::time::Instant;

use super::bus::Link;
use super::config::{LONGEST, QueryCacheConfig};
use super::flight::Flights;
use super::ledger::{Ledger, Stamps};
use super::stats::QueryCacheStats;
use super::store;

/// One result.
pub(super) struct Entry {
    rows: Arc<dyn Any + Send + Sync>,
    is_empty: bool,
    stamps: Stamps,
    born: Instant,
    /// Between 0.9 and 1.1: what was put together expires apart.
    jitter: f32,
    weight: u64,
}

/// How long a result is good, as one read sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) ttl: Duration,
    /// Of an empty result.
    pub(super) negative: Option<Duration>,
    /// How much longer it may be given while a fresh one is fetched.
    pub(super) swr: Duration,
}

/// A result that may be given.
pub(super) enum Found<U> {
    Fresh(Arc<Vec<U>>),
    /// Past its time, but no older than the last write.
    Stale(Arc<Vec<U>>),
}

#[derive(Clone)]
struct Weighter;

impl quick_cache::Weighter<Arc<[u8]>, Arc<Entry>> for Weighter {
    fn weight(&self, _: &Arc<[u8]>, entry: &Arc<Entry>) -> u64 {
        entry.weight
    }
}

pub(super) struct Results {
    pub(super) ledger: Arc<Ledger>,
    pub(super) config: QueryCacheConfig,
    entries: Cache<Arc<[u8]>, Arc<Entry>, Weighter>,
    pub(super) flights: Flights,
    /// `None` without a bus.
    pub(super) link: Option<Arc<Link>>,
    /// What a result weighs at least, so that `max_entries` holds as well as `max_bytes`.
    weight_min: u64,
    /// One reading of the schema at a time.
    pub(super) reading_schema: tokio::sync::Mutex<()>,
}

/// Where a pool keeps its results: made at the first cached read, or when it is configured.
pub(super) type Slot = OnceLock<Arc<Results>>;

impl Results {
    pub(super) fn new(ledger: Arc<Ledger>, config: QueryCacheConfig) -> Self {
        let max_entries = config.max_entries.max(1);
        let capacity = config.max_bytes.unwrap_or(max_entries as u64).max(1);
        let link = config.bus.as_ref().map(|_| Arc::default());
        Self {
            entries: Cache::with_weighter(max_entries, capacity, Weighter),
            flights: Flights::default(),
            weight_min: (capacity / max_entries as u64).max(1),
            reading_schema: tokio::sync::Mutex::new(()),
            ledger,
            config,
            link,
        }
    }

    /// Whether results may be used at all.
    pub(super) fn is_usable(&self) -> bool {
        self.link.as_ref().is_none_or(|link| link.is_up())
    }

    pub(super) fn get<U: Send + Sync + 'static>(
        &self,
        key: &[u8],
        lifetime: Lifetime,
    ) -> Option<Found<U>> {
        self.ledger.raise_due();
        let entry = self.entries.get(key)?;
        if !entry.stamps.hold() {
            self.entries.remove_if(key, |kept| !kept.stamps.hold());
            return None;
        }
        let age = entry.born.elapsed();
        let good = entry.good(lifetime);
        let rows = Arc::clone(&entry.rows).downcast::<Vec<U>>().ok()?;
        if age < good {
            Some(Found::Fresh(rows))
        } else if age < good + lifetime.swr.min(LONGEST) {
            Some(Found::Stale(rows))
        } else {
            None
        }
    }

    /// Keeps `rows` unless a table behind them changed since `stamps` were taken.
    pub(super) fn put<U>(&self, key: Arc<[u8]>, rows: &Arc<Vec<U>>, stamps: Stamps, age: Duration)
    where
        U: Serialize + Send + Sync + 'static,
    {
        if !stamps.hold() {
            self.ledger.counters.stale_puts.add(1);
            return;
        }
        let weight = match self.config.max_bytes {
            None => 1,
            Some(_) => encoded_size(rows).max(self.weight_min),
        };
        let now = Instant::now();
        let entry = Entry {
            is_empty: rows.is_empty(),
            rows: Arc::clone(rows) as Arc<dyn Any + Send + Sync>,
            stamps,
            born: now.checked_sub(age).unwrap_or(now),
            jitter: 0.9 + 0.2 * fastrand::f32(),
            weight,
        };
        self.entries.insert(key, Arc::new(entry));
        self.ledger.counters.entries.set(self.entries.len() as f64);
    }

    pub(super) fn clear(&self) {
        self.entries.clear();
    }

    pub(super) fn stats(&self) -> QueryCacheStats {
        let counters = &self.ledger.counters;
        self.ledger.raise_due();
        let entries = self.entries.len() as u64;
        counters.entries.set(entries as f64);
        QueryCacheStats {
            hits: counters.hits.get(),
            stale_hits: counters.stale_hits.get(),
            misses: counters.misses.get(),
            bypasses: counters.bypasses.get(),
            stale_puts: counters.stale_puts.get(),
            invalidations: counters.invalidations.get(),
            store_failures: counters.store_failures.get(),
            bus_losses: counters.bus_losses.get(),
            entries,
            invalidated: self.ledger.most_raised(INVALIDATED),
        }
    }
}

impl Entry {
    fn good(&self, lifetime: Lifetime) -> Duration {
        let ttl = match lifetime.negative {
            Some(negative) if self.is_empty => negative,
            _ => lifetime.ttl,
        };
        ttl.min(LONGEST).mul_f32(self.jitter)
    }
}

/// Rows that cannot be encoded weigh as much as if they filled the cache, and are not kept.
fn encoded_size<U: Serialize>(rows: &Arc<Vec<U>>) -> u64 {
    store::encode(rows.as_slice(), 0).map_or(u64::MAX, |bytes| bytes.len() as u64)
}

/// How many tables a snapshot names.
const INVALIDATED: usize = 5;
