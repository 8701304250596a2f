//! The counts off the path of a memory hit, each with its series in one line.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Unit, describe_counter};

/// Declares the fields of [`Tallies`] beside the series that shows them, so that neither can be
/// forgotten.
macro_rules! tallies {
    ($($field:ident $series:literal $text:literal;)+) => {
        /// Everything that is counted once for each cache; use as `meter.coalesced.add()`.
        #[derive(Debug)]
        pub(crate) struct Tallies {
            $(#[doc = $text] pub(crate) $field: Tally,)+
        }

        impl Tallies {
            pub(super) fn new(cache: &str) -> Self {
                Self {
                    $($field: Tally::new(metrics::counter!($series, "cache" => cache.to_owned())),)+
                }
            }

            pub(super) fn describe() {
                $(describe_counter!($series, Unit::Count, $text);)+
            }

            pub(super) fn publish(&self) {
                $(self.$field.publish();)+
            }
        }
    };
}

tallies! {
    coalesced "tiered_cache_coalesced_total" "Callers that shared another caller's load.";
    unpublished "tiered_cache_unpublished_total"
        "Values not kept, because an invalidation came in between.";
    unkept "tiered_cache_unkept_total" "Values not kept, because of their size, tags or encoding.";
    stale_served "tiered_cache_stale_served_total" "Reads answered with a value past its time.";
    fallbacks "tiered_cache_fallbacks_total"
        "Reads answered with a value past its time because the loader failed or was slow.";
    refreshes_started "tiered_cache_refreshes_started_total"
        "Loads begun in the background to replace a value that still serves.";
    refreshes_succeeded "tiered_cache_refreshes_succeeded_total"
        "Background loads that gave an answer.";
    refreshes_failed "tiered_cache_refreshes_failed_total" "Background loads that failed.";
    evictions "tiered_cache_evictions_total" "Entries dropped from memory for want of room.";
    expirations "tiered_cache_expirations_total" "Expired entries swept out of memory.";
    promotions "tiered_cache_promotions_total" "Values found in a lower tier and kept in memory.";
    prefetched "tiered_cache_prefetched_total" "Values loaded ahead of a read.";
    prefetch_hits "tiered_cache_prefetch_hits_total" "Values loaded ahead that were read afterwards.";
    prefetch_skipped "tiered_cache_prefetch_skipped_total"
        "Loads ahead not begun, because too many were under way.";
    warmed "tiered_cache_warmed_total" "Values loaded by warming.";
    inserts "tiered_cache_inserts_total" "Calls that insert.";
    expires "tiered_cache_expires_total" "Calls that expire.";
    removals "tiered_cache_removals_total" "Calls that remove.";
}

/// One count.
#[derive(Debug)]
pub(crate) struct Tally {
    count: AtomicU64,
    published: Published,
}

impl Tally {
    pub(super) fn new(counter: Counter) -> Self {
        Self {
            count: AtomicU64::new(0),
            published: Published::new(counter),
        }
    }

    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, count: u64) {
        // Only ever summed up: nothing else is ordered by it.
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// For what somebody else counts already: the count is at least this.
    pub(crate) fn reach(&self, total: u64) {
        self.count.fetch_max(total, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self) {
        self.published.update(self.count());
    }
}

/// What the recorder knows of a count. It is told differences, because two caches of one name (in two
/// `Caches`) share a series.
#[derive(Debug)]
pub(crate) struct Published {
    told: AtomicU64,
    counter: Counter,
}

impl Published {
    pub(crate) fn new(counter: Counter) -> Self {
        Self {
            told: AtomicU64::new(0),
            counter,
        }
    }

    pub(crate) fn update(&self, total: u64) {
        let told = self.told.fetch_max(total, Ordering::Relaxed);
        if total > told {
            self.counter.increment(total - told);
        }
    }
}
