//! What the query cache counts: for its snapshot and for metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use ::metrics::{Counter, Gauge, Unit};
use serde::Serialize;

/// Counter: reads by `outcome` (`hit`, `stale_hit`, `miss`, `bypass`).
const READS: &str = "db_pool_query_cache_reads_total";
/// Counter: commits that made results invalid.
const INVALIDATIONS: &str = "db_pool_query_cache_invalidations_total";
/// Counter: results not kept, as a table behind them changed while they were read.
const STALE_PUTS: &str = "db_pool_query_cache_stale_puts_total";
/// Counter: failures of the shared store; the database was read instead.
const STORE_FAILURES: &str = "db_pool_query_cache_store_failures_total";
/// Counter: times that the bus was lost, and the results with it.
const BUS_LOSSES: &str = "db_pool_query_cache_bus_losses_total";
/// Gauge: results kept.
const ENTRIES: &str = "db_pool_query_cache_entries";

/// One number, for the snapshot and as a metric.
pub(super) struct Count {
    value: AtomicU64,
    metric: Counter,
}

impl Count {
    fn new(metric: Counter) -> Self {
        Self {
            value: AtomicU64::new(0),
            metric,
        }
    }

    pub(super) fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
        self.metric.increment(count);
    }

    pub(super) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

pub(super) struct Counters {
    pub(super) hits: Count,
    pub(super) stale_hits: Count,
    pub(super) misses: Count,
    pub(super) bypasses: Count,
    pub(super) invalidations: Count,
    pub(super) stale_puts: Count,
    pub(super) store_failures: Count,
    pub(super) bus_losses: Count,
    pub(super) entries: Gauge,
}

impl Counters {
    pub(super) fn new(pool: &str) -> Self {
        describe();
        let pool = pool.to_owned();
        let reads = |outcome: &'static str| {
            Count::new(::metrics::counter!(READS, "pool" => pool.clone(), "outcome" => outcome))
        };
        let one =
            |name: &'static str| Count::new(::metrics::counter!(name, "pool" => pool.clone()));
        Self {
            hits: reads("hit"),
            stale_hits: reads("stale_hit"),
            misses: reads("miss"),
            bypasses: reads("bypass"),
            invalidations: one(INVALIDATIONS),
            stale_puts: one(STALE_PUTS),
            store_failures: one(STORE_FAILURES),
            bus_losses: one(BUS_LOSSES),
            entries: ::metrics::gauge!(ENTRIES, "pool" => pool.clone()),
        }
    }
}

fn describe() {
    let counters = [
        (READS, "Reads through the query cache, by outcome."),
        (INVALIDATIONS, "Commits that made cached results invalid."),
        (
            STALE_PUTS,
            "Results not kept because a table changed meanwhile.",
        ),
        (STORE_FAILURES, "Failures of the shared store."),
        (BUS_LOSSES, "Losses of the bus that tells invalidations."),
    ];
    for (name, text) in counters {
        ::metrics::describe_counter!(name, Unit::Count, text);
    }
    ::metrics::describe_gauge!(ENTRIES, Unit::Count, "Results in the query cache.");
}

/// What the query cache has done so far; a snapshot that prints well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueryCacheStats {
    /// Reads answered from the cache.
    pub hits: u64,
    /// Of those, answers past their TTL, given while a fresh one was fetched.
    pub stale_hits: u64,
    /// Reads that asked the database.
    pub misses: u64,
    /// Reads that asked the database because their result must not be kept: statements not understood, and reads
    /// beside a transaction of the same scope that has written.
    pub bypasses: u64,
    /// Results not kept because a table behind them changed while they were read.
    pub stale_puts: u64,
    /// Commits that made results invalid.
    pub invalidations: u64,
    /// Failures of the shared store.
    pub store_failures: u64,
    /// Losses of the bus.
    pub bus_losses: u64,
    /// Results kept now.
    pub entries: u64,
    /// The tables whose writes made results invalid most often, with how often; `*` stands for all tables.
    pub invalidated: Vec<(String, u64)>,
}

impl fmt::Display for QueryCacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.hits + self.misses + self.bypasses;
        let percent = (self.hits * 100).checked_div(all).unwrap_or(0);
        let (hits, entries) = (self.hits, self.entries);
        write!(
            f,
            "query cache: {entries} results, {hits} of {all} reads hit ({percent} %)"
        )?;
        for (count, what) in [
            (self.stale_hits, "stale"),
            (self.bypasses, "bypassed"),
            (self.stale_puts, "stale puts rejected"),
            (self.store_failures, "store failures"),
            (self.bus_losses, "bus losses"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if !self.invalidated.is_empty() {
            f.write_str("; invalidated by")?;
            for (at, (table, count)) in self.invalidated.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(f, "{comma} {table} {count}x")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_prints_what_matters() {
        let mut stats = QueryCacheStats {
            hits: 9,
            misses: 1,
            entries: 1,
            ..QueryCacheStats::default()
        };
        let plain = expect_test::expect!["query cache: 1 results, 9 of 10 reads hit (90 %)"];
        plain.assert_eq(&stats.to_string());
        stats.stale_puts = 2;
        stats.invalidated = vec![("users".into(), 3), ("*".into(), 1)];
        let full = expect_test::expect![
            "query cache: 1 results, 9 of 10 reads hit (90 %), 2 stale puts rejected; invalidated by users 3x, * 1x"
        ];
        full.assert_eq(&stats.to_string());
    }
}
