//! `CacheStats`: the counts of one cache as a snapshot for people, JSON and tests.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

/// The counts of one cache since it was made; a snapshot.
///
/// Counts are taken one after the other while the cache works, so sums may be off by the few reads
/// that happen meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CacheStats {
    /// The cache's name.
    pub name: String,
    /// Entries in memory now, expired ones that were not swept yet among them.
    pub entries: usize,
    /// What they take with their keys and bookkeeping, in bytes, by the cache's weigher or the length of
    /// their encoding. Where entries are counted and nothing weighs them, an estimate that leaves out what
    /// keys and values own on the heap.
    pub bytes: u64,
    /// The memory tier.
    pub memory: TierStats,
    /// The Redis tier.
    pub redis: TierStats,
    /// The disk tier.
    pub disk: TierStats,
    /// Tiers that were added to the library's own.
    pub other: TierStats,
    /// Loads that gave a value.
    pub loads: u64,
    /// Loads that said there is none.
    pub loads_empty: u64,
    /// Loads that said that the value they were shown still holds.
    pub loads_not_modified: u64,
    /// Loads that failed, panicked, ran out of time or were refused.
    pub loads_failed: u64,
    /// Those of them that ran out of time.
    pub loads_timed_out: u64,
    /// Those of them that never ran, because `Policy::loads_max` others did.
    pub loads_refused: u64,
    /// Keys that are being loaded now.
    pub loading: usize,
    /// Those of them whose loader waits for its turn (`Policy::loads_max`).
    pub loads_waiting: usize,
    /// For how long the oldest of them is under way. In JSON: seconds.
    #[serde(serialize_with = "seconds_if_any")]
    pub oldest_load: Option<Duration>,
    /// How long loads took; `None` before the first.
    pub load_times: Option<LoadTimes>,
    /// Callers that shared another caller's load.
    pub coalesced: u64,
    /// Values that were returned but not kept, because an invalidation came in between.
    pub unpublished: u64,
    /// Values that were returned but not kept, because of their size or tags or because they cannot be
    /// encoded.
    pub unkept: u64,
    /// Reads answered with a value past its time.
    pub stale_served: u64,
    /// Those of them that stood in for a loader that failed or was slow.
    pub fallbacks: u64,
    /// Background loads that were begun to replace a value that still served.
    pub refreshes_started: u64,
    /// Background loads that gave an answer.
    pub refreshes: u64,
    /// Background loads that failed.
    pub refreshes_failed: u64,
    /// Entries that memory dropped for want of room.
    pub evictions: u64,
    /// Expired entries that were swept out of memory.
    pub expirations: u64,
    /// Values found in a lower tier and kept in memory.
    pub promotions: u64,
    /// Values loaded ahead of a read, by a relation.
    pub prefetched: u64,
    /// Values loaded ahead that were read afterwards.
    pub prefetch_hits: u64,
    /// Loads ahead that were not begun, because too many were under way.
    pub prefetch_skipped: u64,
    /// Values loaded by warming.
    pub warmed: u64,
    /// Calls that insert.
    pub inserts: u64,
    /// Calls that expire.
    pub expires: u64,
    /// Calls that remove.
    pub removals: u64,
}

/// The reads of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct TierStats {
    /// Reads that it answered with a fresh value.
    pub hits: u64,
    /// Reads for which it had nothing.
    pub misses: u64,
    /// Reads for which it had only an expired or invalidated value.
    pub stale: u64,
    /// Reads that it answered with "there is none", which a loader had said before.
    pub absent: u64,
    /// Reads that found bytes that are no value of this cache; misses to the caller.
    pub invalid: u64,
    /// Reads that failed or ran out of time; misses to the caller.
    pub errors: u64,
    /// Reads that were not made, because the tier could not be asked.
    pub bypassed: u64,
}

/// How long loads took; percentiles are at most an eighth off. In JSON: seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct LoadTimes {
    /// Half of them took at most this.
    #[serde(serialize_with = "seconds")]
    pub p50: Duration,
    /// 95 % took at most this.
    #[serde(serialize_with = "seconds")]
    pub p95: Duration,
    /// 99 % took at most this.
    #[serde(serialize_with = "seconds")]
    pub p99: Duration,
    /// The longest.
    #[serde(serialize_with = "seconds")]
    pub max: Duration,
}

impl CacheStats {
    /// All reads of the cache.
    pub fn reads(&self) -> u64 {
        self.memory.reads()
    }

    /// The share of reads that some tier answered, 0 to 1; 0 before the first read. Stale values that
    /// were served count, and so does knowing that there is none.
    pub fn hit_ratio(&self) -> f64 {
        let tiers = [&self.memory, &self.redis, &self.disk, &self.other];
        let answered: u64 = tiers.iter().map(|tier| tier.hits + tier.absent).sum();
        ratio(answered + self.stale_served, self.reads())
    }

    /// The share of prefetched values that were read afterwards, 0 to 1; 0 before the first.
    pub fn prefetch_ratio(&self) -> f64 {
        ratio(self.prefetch_hits, self.prefetched)
    }
}

impl TierStats {
    /// All reads that the tier was asked.
    pub fn reads(&self) -> u64 {
        self.hits + self.misses + self.stale + self.absent + self.invalid + self.errors
    }

    /// The share of its reads that it answered, 0 to 1; 0 before the first read.
    pub fn hit_ratio(&self) -> f64 {
        ratio(self.hits + self.absent, self.reads())
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    // More parts than the whole: counts are taken one after the other.
    (part as f64 / whole as f64).min(1.0)
}

pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn seconds_if_any<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}

// === impl Display ===

impl fmt::Display for CacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.1} % of {} reads answered, {} {}",
            self.name,
            self.hit_ratio() * 100.0,
            Grouped(self.reads()),
            Grouped(self.entries as u64),
            if self.entries == 1 {
                "entry"
            } else {
                "entries"
            },
        )?;
        if self.bytes > 0 {
            write!(f, ", {}", Bytes(self.bytes))?;
        }
        let tiers = [
            ("memory", &self.memory),
            ("redis", &self.redis),
            ("disk", &self.disk),
            ("other", &self.other),
        ];
        for (name, tier) in tiers {
            if tier.reads() + tier.bypassed > 0 {
                write!(f, "\n  {name:<9}{tier}")?;
            }
        }
        self.write_loads(f)?;
        let rows: [(&str, &[(u64, &str)]); 4] = [
            (
                "stale",
                &[
                    (self.stale_served, "served"),
                    (self.fallbacks, "for want of the loader"),
                    (self.refreshes, "refreshed"),
                    (self.refreshes_failed, "refreshes failed"),
                ],
            ),
            (
                "ahead",
                &[
                    (self.warmed, "warmed"),
                    (self.prefetched, "prefetched"),
                    (self.prefetch_hits, "of them read"),
                    (self.prefetch_skipped, "skipped"),
                ],
            ),
            (
                "dropped",
                &[
                    (self.evictions, "evicted"),
                    (self.expirations, "swept"),
                    (self.unpublished, "overtaken by an invalidation"),
                    (self.unkept, "not kept"),
                ],
            ),
            (
                "writes",
                &[
                    (self.inserts, "inserted"),
                    (self.expires, "expired"),
                    (self.removals, "removed"),
                ],
            ),
        ];
        for (name, counts) in rows {
            write_row(f, name, counts)?;
        }
        Ok(())
    }
}

impl CacheStats {
    fn write_loads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_row(
            f,
            "loads",
            &[
                (self.loads, "gave a value"),
                (self.loads_empty, "said there is none"),
                (self.loads_not_modified, "not modified"),
                (self.loads_failed, "failed"),
                (self.coalesced, "callers joined"),
                (self.loading as u64, "under way"),
                (self.loads_waiting as u64, "of them waiting"),
            ],
        )?;
        match &self.load_times {
            Some(times) => write!(f, "\n           {times}"),
            None => Ok(()),
        }
    }
}

/// The counts that are not zero; no line at all when all are.
fn write_row(f: &mut fmt::Formatter<'_>, name: &str, counts: &[(u64, &str)]) -> fmt::Result {
    let mut lead = true;
    for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
        if lead {
            write!(f, "\n  {name:<9}")?;
        } else {
            f.write_str(", ")?;
        }
        write!(f, "{} {what}", Grouped(*count))?;
        lead = false;
    }
    Ok(())
}

impl fmt::Display for TierStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5.1} %  {} of {}",
            self.hit_ratio() * 100.0,
            Grouped(self.hits + self.absent),
            Grouped(self.reads()),
        )?;
        let rest = [
            (self.absent, "known absent"),
            (self.stale, "stale"),
            (self.invalid, "invalid"),
            (self.errors, "errors"),
            (self.bypassed, "bypassed"),
        ];
        for (count, what) in rest.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {} {what}", Grouped(*count))?;
        }
        Ok(())
    }
}

impl fmt::Display for LoadTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "took {:.1?} (p50), {:.1?} (p95), {:.1?} (p99), {:.1?} (longest)",
            self.p50, self.p95, self.p99, self.max
        )
    }
}

/// A count with its thousands apart.
pub(crate) struct Grouped(pub(crate) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A size in the unit that gives one to four digits.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut size, mut units) = (self.0 as f64, ["B", "KiB", "MiB", "GiB", "TiB"].iter());
        let mut unit = units.next().unwrap_or(&"");
        while size >= 1024.0 {
            let Some(next) = units.next() else { break };
            (size, unit) = (size / 1024.0, next);
        }
        let decimals = usize::from(size < 10.0 && *unit != "B");
        f.pad(&format!("{size:.decimals$} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::expect;

    use super::{Bytes, Grouped};
    use crate::{
        cached::TierKind,
        stats::{LoadOutcome, Meter, Outcome, Size},
    };

    #[test]
    fn a_snapshot_prints_as_a_table_without_what_never_happened() {
        let meter = Meter::new("users");
        let idle = meter.snapshot("users", Size::default()).to_string();
        assert_eq!(idle, "users: 0.0 % of 0 reads answered, 0 entries");
        (0..12_345).for_each(|_| meter.read(TierKind::Memory, Outcome::Hit));
        (0..1_000).for_each(|_| meter.read(TierKind::Memory, Outcome::Miss));
        (0..10).for_each(|_| meter.read(TierKind::Memory, Outcome::Stale));
        (0..900).for_each(|_| meter.read(TierKind::Redis, Outcome::Hit));
        (0..7).for_each(|_| meter.read(TierKind::Redis, Outcome::Bypassed));
        (0..90).for_each(|_| meter.load(LoadOutcome::Value, Duration::from_millis(4)));
        meter.load(LoadOutcome::TimedOut, Duration::from_secs(30));
        meter.load(LoadOutcome::Absent, Duration::from_micros(700));
        meter.coalesced.add_many(41);
        meter.stale_served.add_many(10);
        meter.refreshes_started.add_many(10);
        meter.refreshes_succeeded.add_many(9);
        meter.evictions.add_many(2_222_222);
        meter.prefetched.add_many(20);
        meter.prefetch_hits.add_many(15);
        meter.removals.add();
        let size = Size {
            entries: 10_000,
            bytes: 5 << 20,
        };
        let stats = meter.snapshot("users", size);
        expect![[r#"
            users: 99.3 % of 13,355 reads answered, 10,000 entries, 5.0 MiB
              memory    92.4 %  12,345 of 13,355, 10 stale
              redis    100.0 %  900 of 900, 7 bypassed
              loads    90 gave a value, 1 said there is none, 1 failed, 41 callers joined
                       took 3.8ms (p50), 3.8ms (p95), 30.0s (p99), 30.0s (longest)
              stale    10 served, 9 refreshed
              ahead    20 prefetched, 15 of them read
              dropped  2,222,222 evicted
              writes   1 removed"#]]
        .assert_eq(&stats.to_string());
        let json = serde_json::to_value(&stats).expect("plain data");
        assert_eq!(json["memory"]["hits"], 12_345);
        assert_eq!(json["load_times"]["max"], 30.0);
        assert_eq!(stats.prefetch_ratio(), 0.75);
    }

    #[test]
    fn a_load_that_never_ran_takes_no_time() {
        let meter = Meter::new("users");
        meter.load(LoadOutcome::Overloaded, Duration::ZERO);
        let stats = meter.snapshot("users", Size::default());
        assert_eq!((stats.loads_refused, stats.load_times), (1, None));
    }

    #[test]
    fn numbers_are_grouped_and_sizes_have_units() {
        let texts = [Grouped(999), Grouped(1_000), Grouped(u64::MAX)].map(|n| n.to_string());
        assert_eq!(texts, ["999", "1,000", "18,446,744,073,709,551,615"]);
        let texts = [0, 1023, 1 << 10, 300 << 20, 3 << 40].map(|n| Bytes(n).to_string());
        assert_eq!(texts, ["0 B", "1023 B", "1.0 KiB", "300 MiB", "3.0 TiB"]);
    }
}
