//! The series of what caches share: breakers, gaps of the log, and the disk tier with its queue.

use std::sync::Arc;

use metrics::{Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use super::Shared;
use crate::{
    guard::{BreakerState, Guard},
    stats::Published,
    status::DiskUse,
};

/// The handles go to the recorder that is installed when the caches are built.
pub(super) struct Gauges {
    breakers: Vec<Gauge>,
    gaps: Published,
    disk: Option<DiskSeries>,
}

struct DiskSeries {
    queued_entries: Gauge,
    queued_bytes: Gauge,
    written: Published,
    dropped: Published,
    refused: Published,
    damaged: Published,
}

impl Gauges {
    pub(super) fn new(tiers: &[Arc<Guard>], has_disk: bool) -> Self {
        describe();
        let breaker = |tier: &Arc<Guard>| gauge!(BREAKER_OPEN, "tier" => tier.kind().as_str());
        Self {
            breakers: tiers.iter().map(breaker).collect(),
            gaps: Published::new(counter!(LOG_GAPS)),
            disk: has_disk.then(DiskSeries::new),
        }
    }

    /// Tells the recorder how things stand.
    pub(super) fn publish(&self, shared: &Shared) {
        for (gauge, tier) in self.breakers.iter().zip(&*shared.tiers) {
            let open = tier.state() != BreakerState::Closed;
            gauge.set(if open { 1.0 } else { 0.0 });
        }
        if let Some(log) = shared.common.ledger.log_status() {
            self.gaps.update(log.gaps);
        }
        if let Some(disk) = &self.disk {
            disk.publish(&shared.parts.status(&shared.common).disk_use);
        }
    }
}

impl DiskSeries {
    fn new() -> Self {
        Self {
            queued_entries: gauge!(DISK_QUEUE_ENTRIES),
            queued_bytes: gauge!(DISK_QUEUE_BYTES),
            written: Published::new(counter!(DISK_WRITTEN)),
            dropped: Published::new(counter!(DISK_DROPPED)),
            refused: Published::new(counter!(DISK_REFUSED)),
            damaged: Published::new(counter!(DISK_DAMAGED)),
        }
    }

    fn publish(&self, disk: &DiskUse) {
        self.queued_entries.set(disk.queued_entries as f64);
        self.queued_bytes.set(disk.queued_bytes as f64);
        self.written.update(disk.written);
        self.dropped.update(disk.dropped);
        self.refused.update(disk.refused);
        self.damaged.update(disk.damaged);
    }
}

fn describe() {
    let count = Unit::Count;
    describe_gauge!(
        BREAKER_OPEN,
        count,
        "1 while a tier is left alone for its failures."
    );
    describe_counter!(
        LOG_GAPS,
        count,
        "How often the shared log could not be followed."
    );
    describe_gauge!(DISK_QUEUE_ENTRIES, count, "Entries that wait for the disk.");
    describe_gauge!(DISK_QUEUE_BYTES, Unit::Bytes, "What they take.");
    describe_counter!(DISK_WRITTEN, count, "Entries that the disk has taken.");
    describe_counter!(
        DISK_DROPPED,
        count,
        "Entries that the disk had no room or time for."
    );
    describe_counter!(DISK_REFUSED, count, "Entries too large for the disk tier.");
    describe_counter!(
        DISK_DAMAGED,
        count,
        "Entries that were read and were not what was written."
    );
}

const BREAKER_OPEN: &str = "tiered_cache_breaker_open";
const LOG_GAPS: &str = "tiered_cache_log_gaps_total";
const DISK_QUEUE_ENTRIES: &str = "tiered_cache_disk_queue_entries";
const DISK_QUEUE_BYTES: &str = "tiered_cache_disk_queue_bytes";
const DISK_WRITTEN: &str = "tiered_cache_disk_written_total";
const DISK_DROPPED: &str = "tiered_cache_disk_dropped_total";
const DISK_REFUSED: &str = "tiered_cache_disk_refused_total";
const DISK_DAMAGED: &str = "tiered_cache_disk_damaged_total";
