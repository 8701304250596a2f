//! `Meter`: the calls by which a cache says what happened.

use std::{ops::Deref, time::Duration};

use metrics::{Gauge, Histogram};

use super::{
    histogram::Durations,
    names,
    snapshot::{CacheStats, TierStats},
    stripes::{SLOTS, Stripes},
    tallies::{Published, Tallies, Tally},
};
use crate::cached::TierKind;

/// What a read of one tier found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A fresh value.
    Hit,
    /// Nothing.
    Miss,
    /// Only a value past its time, or expired by an invalidation.
    Stale,
    /// That there is no such value (a negative entry).
    Absent,
    /// Bytes that are no value of this cache.
    Invalid,
    /// A failure, or no answer in time.
    Error,
    /// Not asked, because it is known to be away or the key has an invalidation pending.
    Bypassed,
}

/// How a run of a loader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadOutcome {
    Value,
    Absent,
    NotModified,
    Failed,
    TimedOut,
    Panicked,
    /// It never ran: no room in the bulkhead in time.
    Overloaded,
}

/// What the memory tier holds, for the gauges and the snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// The counters of one cache: about 8 KiB.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The memory tier's outcomes, in the order of [`Outcome`].
    memory: Stripes,
    memory_published: [Published; OUTCOMES.len()],
    redis: [Tally; OUTCOMES.len()],
    disk: [Tally; OUTCOMES.len()],
    other: [Tally; OUTCOMES.len()],
    loads: [Tally; LOADS.len()],
    load_times: Durations,
    load_seconds: Histogram,
    entries: Gauge,
    bytes: Gauge,
    tallies: Tallies,
}

impl Deref for Meter {
    type Target = Tallies;

    fn deref(&self) -> &Tallies {
        &self.tallies
    }
}

impl Meter {
    /// The handles go to the recorder that is installed now; without one they do nothing for ever.
    pub(crate) fn new(cache: &str) -> Self {
        names::describe();
        let label = || cache.to_owned();
        let tier = |tier: &'static str| {
            OUTCOMES.map(|outcome| {
                metrics::counter!(
                    names::REQUESTS, "cache" => label(), "tier" => tier, "outcome" => outcome
                )
            })
        };
        Self {
            memory: Stripes::new(),
            memory_published: tier("memory").map(Published::new),
            redis: tier("redis").map(Tally::new),
            disk: tier("disk").map(Tally::new),
            other: tier("other").map(Tally::new),
            loads: LOADS.map(|outcome| {
                Tally::new(metrics::counter!(
                    names::LOADS, "cache" => label(), "outcome" => outcome
                ))
            }),
            load_times: Durations::new(),
            load_seconds: metrics::histogram!(names::LOAD_SECONDS, "cache" => label()),
            entries: metrics::gauge!(names::ENTRIES, "cache" => label(), "tier" => "memory"),
            bytes: metrics::gauge!(names::BYTES, "cache" => label(), "tier" => "memory"),
            tallies: Tallies::new(cache),
        }
    }

    /// One read of one tier. For memory it is one addition that no other thread contends.
    #[inline]
    pub(crate) fn read(&self, tier: TierKind, outcome: Outcome) {
        match tier {
            TierKind::Memory => self.memory.add(outcome as usize),
            TierKind::Redis => self.redis[outcome as usize].add(),
            TierKind::Disk => self.disk[outcome as usize].add(),
            TierKind::Other => self.other[outcome as usize].add(),
        }
    }

    /// One run of a loader; one that never ran took no time that says anything.
    pub(crate) fn load(&self, outcome: LoadOutcome, took: Duration) {
        self.loads[outcome as usize].add();
        if outcome == LoadOutcome::Overloaded {
            return;
        }
        self.load_times.record(took);
        self.load_seconds.record(took.as_secs_f64());
    }

    /// All reads that memory was asked.
    pub(crate) fn memory_reads(&self) -> u64 {
        tier_stats(|slot| self.memory.sum(slot)).reads()
    }

    /// Passes on to the recorder what was counted since the last call; for the housekeeping.
    pub(crate) fn publish(&self, size: Size) {
        self.entries.set(size.entries as f64);
        self.bytes.set(size.bytes as f64);
        for (slot, published) in self.memory_published.iter().enumerate() {
            published.update(self.memory.sum(slot));
        }
        let tiers = self.redis.iter().chain(&self.disk).chain(&self.other);
        tiers.chain(&self.loads).for_each(Tally::publish);
        self.tallies.publish();
    }

    /// The counts until now, without what only the flights know; the recorder is told of them first, so that a cache without housekeeping
    /// has its series too.
    pub(crate) fn snapshot(&self, name: &str, size: Size) -> CacheStats {
        self.publish(size);
        let load = |outcome: LoadOutcome| self.loads[outcome as usize].count();
        CacheStats {
            name: name.to_owned(),
            entries: size.entries,
            bytes: size.bytes,
            memory: tier_stats(|slot| self.memory.sum(slot)),
            redis: tier_stats(|slot| self.redis[slot].count()),
            disk: tier_stats(|slot| self.disk[slot].count()),
            other: tier_stats(|slot| self.other[slot].count()),
            loads: load(LoadOutcome::Value),
            loads_empty: load(LoadOutcome::Absent),
            loads_not_modified: load(LoadOutcome::NotModified),
            loads_failed: load(LoadOutcome::Failed)
                + load(LoadOutcome::TimedOut)
                + load(LoadOutcome::Panicked)
                + load(LoadOutcome::Overloaded),
            loads_timed_out: load(LoadOutcome::TimedOut),
            loads_refused: load(LoadOutcome::Overloaded),
            loading: 0,
            loads_waiting: 0,
            oldest_load: None,
            load_times: self.load_times.times(),
            coalesced: self.coalesced.count(),
            unpublished: self.unpublished.count(),
            unkept: self.unkept.count(),
            stale_served: self.stale_served.count(),
            fallbacks: self.fallbacks.count(),
            refreshes_started: self.refreshes_started.count(),
            refreshes: self.refreshes_succeeded.count(),
            refreshes_failed: self.refreshes_failed.count(),
            evictions: self.evictions.count(),
            expirations: self.expirations.count(),
            promotions: self.promotions.count(),
            prefetched: self.prefetched.count(),
            prefetch_hits: self.prefetch_hits.count(),
            prefetch_skipped: self.prefetch_skipped.count(),
            warmed: self.warmed.count(),
            inserts: self.inserts.count(),
            expires: self.expires.count(),
            removals: self.removals.count(),
        }
    }
}

impl Drop for Meter {
    /// The recorder learns the last counts, and that nothing is held any more.
    fn drop(&mut self) {
        self.publish(Size::default());
    }
}

fn tier_stats(count: impl Fn(usize) -> u64) -> TierStats {
    TierStats {
        hits: count(Outcome::Hit as usize),
        misses: count(Outcome::Miss as usize),
        stale: count(Outcome::Stale as usize),
        absent: count(Outcome::Absent as usize),
        invalid: count(Outcome::Invalid as usize),
        errors: count(Outcome::Error as usize),
        bypassed: count(Outcome::Bypassed as usize),
    }
}

/// In the order of [`Outcome`].
const OUTCOMES: [&str; 7] = [
    "hit", "miss", "stale", "absent", "invalid", "error", "bypassed",
];
const _: () = assert!(OUTCOMES.len() <= SLOTS);

/// In the order of [`LoadOutcome`].
const LOADS: [&str; 7] = [
    "value",
    "absent",
    "not_modified",
    "failed",
    "timed_out",
    "panicked",
    "overloaded",
];
