//! What is counted: once for `CacheStats`, once for the `metrics` facade, with handles made once.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};
use serde::Serialize;

use crate::old_lookup::TierKind;

/// The counts of one cache since it was made; a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// The cache's name.
    pub name: String,
    /// Values in memory now, expired ones that were not read since among them.
    pub entries: usize,
    /// The memory tier.
    pub memory: TierStats,
    /// The Redis tier.
    pub redis: TierStats,
    /// The disk tier.
    pub disk: TierStats,
    /// Loads that gave a value.
    pub loads: u64,
    /// Loads that said there is none.
    pub loads_empty: u64,
    /// Loads that failed, panicked or ran out of time.
    pub loads_failed: u64,
    /// Callers that shared another caller's load.
    pub coalesced: u64,
    /// Values that were returned but not kept, because an invalidation came in between.
    pub unpublished: u64,
    /// Values that were returned but not kept, because of their size or because they cannot be
    /// encoded.
    pub unkept: u64,
    /// Calls of `insert`.
    pub inserts: u64,
    /// Calls of `remove` and `clear`.
    pub removals: u64,
}

/// The reads of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct TierStats {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads for which it had nothing.
    pub misses: u64,
    /// Reads for which it had only an expired or invalidated value; misses to the caller.
    pub stale: u64,
    /// Reads that found bytes that are no value of this cache; misses to the caller.
    pub invalid: u64,
    /// Reads that failed or ran out of time; misses to the caller.
    pub errors: u64,
    /// Reads that were not made, because the tier could not be asked.
    pub bypassed: u64,
}

impl CacheStats {
    /// The share of reads that some tier answered, 0 to 1; 0 before the first read.
    pub fn hit_ratio(&self) -> f64 {
        let reads = self.memory.hits + self.memory.misses + self.memory.stale;
        let hits = self.memory.hits + self.redis.hits + self.disk.hits;
        if reads == 0 {
            0.0
        } else {
            (hits as f64 / reads as f64).min(1.0)
        }
    }
}

impl fmt::Display for CacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.1} % hits (memory {}, redis {}, disk {}), {} loads, {} coalesced, \
             {} failed, {} entries",
            self.name,
            self.hit_ratio() * 100.0,
            self.memory.hits,
            self.redis.hits,
            self.disk.hits,
            self.loads,
            self.coalesced,
            self.loads_failed,
            self.entries,
        )
    }
}

/// What a read of a tier, or a load, came to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Stale,
    Invalid,
    Error,
    Bypassed,
}

/// The counters of one cache.
#[derive(Debug)]
pub(crate) struct Meter {
    memory: Outcomes,
    redis: Outcomes,
    disk: Outcomes,
    loader: Outcomes,
    pub(crate) coalesced: Tally,
    pub(crate) unpublished: Tally,
    pub(crate) unkept: Tally,
    pub(crate) inserts: Tally,
    pub(crate) removals: Tally,
    load_seconds: Histogram,
    entries: Gauge,
}

/// One count, kept for the snapshot and passed on to the recorder.
#[derive(Debug)]
pub(crate) struct Tally {
    count: AtomicU64,
    counter: Counter,
}

#[derive(Debug)]
struct Outcomes([Tally; OUTCOMES.len()]);

impl Meter {
    pub(crate) fn new(cache: &str) -> Self {
        let tally =
            |name: &'static str| Tally::new(metrics::counter!(name, "cache" => cache.to_owned()));
        Self {
            memory: Outcomes::new(cache, "memory"),
            redis: Outcomes::new(cache, "redis"),
            disk: Outcomes::new(cache, "disk"),
            loader: Outcomes::new(cache, "loader"),
            coalesced: tally(COALESCED),
            unpublished: tally(UNPUBLISHED),
            unkept: tally(UNKEPT),
            inserts: tally(INSERTS),
            removals: tally(REMOVALS),
            load_seconds: metrics::histogram!(LOAD_SECONDS, "cache" => cache.to_owned()),
            entries: metrics::gauge!(ENTRIES, "cache" => cache.to_owned(), "tier" => "memory"),
        }
    }

    pub(crate) fn read(&self, tier: TierKind, outcome: Outcome) {
        self.tier(tier).add(outcome);
    }

    pub(crate) fn load(&self, outcome: Outcome, took: Duration) {
        self.loader.add(outcome);
        self.load_seconds.record(took.as_secs_f64());
    }

    pub(crate) fn entries(&self, count: usize) {
        self.entries.set(count as f64);
    }

    pub(crate) fn snapshot(&self, name: &str, entries: usize) -> CacheStats {
        CacheStats {
            name: name.to_owned(),
            entries,
            memory: self.memory.snapshot(),
            redis: self.redis.snapshot(),
            disk: self.disk.snapshot(),
            loads: self.loader.count(Outcome::Hit),
            loads_empty: self.loader.count(Outcome::Miss),
            loads_failed: self.loader.count(Outcome::Error),
            coalesced: self.coalesced.count(),
            unpublished: self.unpublished.count(),
            unkept: self.unkept.count(),
            inserts: self.inserts.count(),
            removals: self.removals.count(),
        }
    }

    fn tier(&self, tier: TierKind) -> &Outcomes {
        match tier {
            TierKind::Memory => &self.memory,
            TierKind::Redis => &self.redis,
            TierKind::Disk => &self.disk,
        }
    }
}

impl Outcomes {
    fn new(cache: &str, tier: &'static str) -> Self {
        Self(OUTCOMES.map(|outcome| {
            Tally::new(metrics::counter!(
                REQUESTS, "cache" => cache.to_owned(), "tier" => tier, "outcome" => outcome
            ))
        }))
    }

    fn add(&self, outcome: Outcome) {
        self.0[outcome as usize].add();
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].count()
    }

    fn snapshot(&self) -> TierStats {
        TierStats {
            hits: self.count(Outcome::Hit),
            misses: self.count(Outcome::Miss),
            stale: self.count(Outcome::Stale),
            invalid: self.count(Outcome::Invalid),
            errors: self.count(Outcome::Error),
            bypassed: self.count(Outcome::Bypassed),
        }
    }
}

impl Tally {
    fn new(counter: Counter) -> Self {
        Self {
            count: AtomicU64::new(0),
            counter,
        }
    }

    pub(crate) fn add(&self) {
        // Only ever summed up: nothing else is ordered by it.
        self.count.fetch_add(1, Ordering::Relaxed);
        self.counter.increment(1);
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// In the order of [`Outcome`].
const OUTCOMES: [&str; 6] = ["hit", "miss", "stale", "invalid", "error", "bypassed"];

const REQUESTS: &str = "tiered_cache_requests_total";
const COALESCED: &str = "tiered_cache_coalesced_total";
const UNPUBLISHED: &str = "tiered_cache_unpublished_total";
const UNKEPT: &str = "tiered_cache_unkept_total";
const INSERTS: &str = "tiered_cache_inserts_total";
const REMOVALS: &str = "tiered_cache_removals_total";
const LOAD_SECONDS: &str = "tiered_cache_load_seconds";
const ENTRIES: &str = "tiered_cache_entries";
