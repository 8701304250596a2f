//! The names, units and descriptions of the series; labels are cache names, tiers and outcomes, all of
//! bounded number.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

use super::tallies::Tallies;

pub(super) const REQUESTS: &str = "tiered_cache_requests_total";
pub(super) const LOADS: &str = "tiered_cache_loads_total";
pub(super) const LOAD_SECONDS: &str = "tiered_cache_load_seconds";
pub(super) const ENTRIES: &str = "tiered_cache_entries";
pub(super) const BYTES: &str = "tiered_cache_bytes";

pub(super) fn describe() {
    Tallies::describe();
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "Reads of a tier, by what they found."
    );
    describe_counter!(LOADS, Unit::Count, "Runs of a loader, by how they ended.");
    describe_histogram!(LOAD_SECONDS, Unit::Seconds, "How long a loader ran.");
    describe_gauge!(ENTRIES, Unit::Count, "Entries in memory.");
    describe_gauge!(BYTES, Unit::Bytes, "What the entries in memory weigh.");
}
