//! `SizeAdvice`: the prediction for people, as a small chart, and for JSON.

use std::fmt;

use serde::Serialize;

use crate::{
    policy::Capacity,
    stats::{Bytes, Grouped, Size},
};

/// What memory tiers of other sizes would have hit under the load of this process so far.
///
/// It predicts an LRU cache, within 3 points. The memory tier's own policy resists scans and usually hits
/// more than an LRU of the same size (6 to 8 points on Zipf loads, more when scans pass), so take the
/// prediction at the present size beside the measured ratio, and the others in comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SizeAdvice {
    /// The cache's name.
    pub cache: String,
    /// From an eighth of the present size to eight times it, in ascending order.
    pub points: Vec<SizePoint>,
    /// What is predicted for the present size.
    pub now: SizePoint,
    /// What the memory tier did hit, 0 to 1.
    pub measured: f64,
    /// The smallest size from which no doubling gains more than a point.
    pub knee: SizePoint,
    /// The keys that are watched now.
    pub keys_sampled: usize,
    /// The share of all keys that they are, 0 to 1.
    pub rate: f64,
    /// The advice in a sentence or two.
    pub text: String,
}

/// One size and its predicted ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SizePoint {
    /// The size in entries.
    pub entries: u64,
    /// The size in bytes, at the present average; `None` where entries are counted.
    pub bytes: Option<u64>,
    /// The share of reads that it hits, 0 to 1.
    pub hit_ratio: f64,
}

/// What the cache is like now.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) cache: &'a str,
    pub(crate) capacity: Capacity,
    pub(crate) size: Size,
    /// All reads of memory so far.
    pub(crate) reads: u64,
    /// The share of them that memory answered.
    pub(crate) measured: f64,
}

impl Inputs<'_> {
    /// The present size in entries, and what an entry weighs where bytes are counted.
    fn present(&self) -> (f64, Option<f64>) {
        match self.capacity {
            Capacity::Entries(entries) => (entries as f64, None),
            Capacity::Bytes(bytes) => {
                let entries = self.size.entries.max(1) as f64;
                let each = (self.size.bytes as f64 / entries).max(1.0);
                (bytes as f64 / each, Some(each))
            }
        }
    }
}

impl SizeAdvice {
    pub(super) fn new(
        inputs: &Inputs<'_>,
        rate: f64,
        keys_sampled: usize,
        sampled_reads: f64,
        hit_ratio: impl Fn(f64) -> f64,
    ) -> Self {
        let (present, each) = inputs.present();
        let point = |factor: f64| SizePoint {
            entries: (present * factor).round().max(1.0) as u64,
            bytes: each.map(|each| (present * factor * each).round() as u64),
            hit_ratio: hit_ratio(present * factor),
        };
        let points: Vec<_> = FACTORS.map(point).into();
        let now = point(1.0);
        let best = points.last().map_or(0.0, |last| last.hit_ratio);
        let knee = knee(&points).unwrap_or(now);
        let mut advice = Self {
            cache: inputs.cache.to_owned(),
            points,
            now,
            measured: inputs.measured,
            knee,
            keys_sampled,
            rate,
            text: String::new(),
        };
        advice.text = if sampled_reads < READS_MIN {
            "Too few reads were sampled yet to say anything.".to_owned()
        } else {
            advice.sentence(best)
        };
        advice
    }

    fn sentence(&self, best: f64) -> String {
        let percent = |point: &SizePoint| format!("{:.1} %", point.hit_ratio * 100.0);
        let points_apart = |other: f64| (other - self.now.hit_ratio) * 100.0;
        let knee = &self.knee;
        if knee.entries > self.now.entries {
            return format!(
                "A larger memory tier pays: {knee} would hit {} instead of {} \
                 ({:+.1} points); beyond it, doubling gains less than a point.",
                percent(knee),
                percent(&self.now),
                points_apart(knee.hit_ratio),
            );
        }
        if knee.entries < self.now.entries {
            return format!(
                "A smaller memory tier would do: {knee} would hit {} instead of {} \
                 ({:+.1} points); eight times the size would hit {:.1} %.",
                percent(knee),
                percent(&self.now),
                points_apart(knee.hit_ratio),
                best * 100.0,
            );
        }
        format!(
            "The size is right: half of it would hit less ({:.1} %), and doubling it gains less than a \
             point.",
            self.points[HALF].hit_ratio * 100.0
        )
    }
}

/// The smallest point from which each further doubling gains at most a point.
fn knee(points: &[SizePoint]) -> Option<SizePoint> {
    let worth_it = |pair: &[SizePoint]| pair[1].hit_ratio - pair[0].hit_ratio > 0.01;
    let last = points.windows(2).rposition(worth_it);
    points.get(last.map_or(0, |last| last + 1)).copied()
}

// === impl Display ===

impl fmt::Display for SizePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "{}", Bytes(bytes)),
            None => write!(f, "{} entries", Grouped(self.entries)),
        }
    }
}

impl fmt::Display for SizeAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: hits by size of the memory tier, predicted for LRU from {} keys (1 in {})",
            self.cache,
            Grouped(self.keys_sampled as u64),
            Grouped((1.0 / self.rate).round() as u64),
        )?;
        let sizes: Vec<_> = self.points.iter().map(SizePoint::to_string).collect();
        let width = sizes.iter().map(String::len).max().unwrap_or(0);
        for (point, size) in self.points.iter().zip(&sizes) {
            let bar = Bar(point.hit_ratio);
            write!(
                f,
                "  {size:>width$} {bar} {:>5.1} %",
                point.hit_ratio * 100.0
            )?;
            if point.entries == self.now.entries {
                write!(f, "  now (measured {:.1} %)", self.measured * 100.0)?;
            }
            if point.entries == self.knee.entries {
                write!(f, "  knee")?;
            }
            writeln!(f)?;
        }
        f.write_str(&self.text)
    }
}

/// A share from 0 to 1 as a bar of [`BAR`] characters, drawn in eighths.
struct Bar(f64);

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let eighths = (self.0.clamp(0.0, 1.0) * BAR as f64 * 8.0).round() as usize;
        let (full, part) = (eighths / 8, eighths % 8);
        let mut text = "█".repeat(full);
        if part > 0 {
            text.push(['▏', '▎', '▍', '▌', '▋', '▊', '▉'][part - 1]);
        }
        write!(f, "{text:<BAR$}")
    }
}

const BAR: usize = 32;
/// Doublings, so that each step of the chart answers the same question.
const FACTORS: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
const HALF: usize = 2;
const READS_MIN: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Inputs, SizeAdvice};
    use crate::{policy::Capacity, stats::Size};

    fn advice(capacity: Capacity, reads: f64, knee_at: f64) -> SizeAdvice {
        let inputs = Inputs {
            cache: "users",
            capacity,
            size: Size {
                entries: 10_000,
                bytes: 100 << 20,
            },
            reads: 1_000_000,
            measured: 0.731,
        };
        SizeAdvice::new(&inputs, 0.05, 3_921, reads, |entries| {
            0.93 * (entries / knee_at).powf(0.3).min(1.0)
        })
    }

    #[test]
    fn a_cache_that_is_too_small_is_told_where_the_knee_is() {
        let text = advice(Capacity::Entries(10_000), 5e5, 40_000.0).to_string();
        expect![[r#"
            users: hits by size of the memory tier, predicted for LRU from 3,921 keys (1 in 20)
               1,250 entries ██████████▌                       32.9 %
               2,500 entries █████████████                     40.5 %
               5,000 entries ████████████████                  49.8 %
              10,000 entries ███████████████████▋              61.4 %  now (measured 73.1 %)
              20,000 entries ████████████████████████▏         75.5 %
              40,000 entries █████████████████████████████▊    93.0 %  knee
              80,000 entries █████████████████████████████▊    93.0 %
            A larger memory tier pays: 40,000 entries would hit 93.0 % instead of 61.4 % (+31.6 points); beyond it, doubling gains less than a point."#]].assert_eq(&text);
    }

    #[test]
    fn a_cache_that_is_too_large_is_told_so_in_bytes() {
        let advice = advice(Capacity::Bytes(100 << 20), 5e5, 2_500.0);
        expect![[r#"
            users: hits by size of the memory tier, predicted for LRU from 3,921 keys (1 in 20)
               12 MiB ████████████████████████▏         75.5 %
               25 MiB █████████████████████████████▊    93.0 %  knee
               50 MiB █████████████████████████████▊    93.0 %
              100 MiB █████████████████████████████▊    93.0 %  now (measured 73.1 %)
              200 MiB █████████████████████████████▊    93.0 %
              400 MiB █████████████████████████████▊    93.0 %
              800 MiB █████████████████████████████▊    93.0 %
            A smaller memory tier would do: 25 MiB would hit 93.0 % instead of 93.0 % (+0.0 points); eight times the size would hit 93.0 %."#]].assert_eq(&advice.to_string());
        let json = serde_json::to_value(&advice).expect("plain data");
        assert_eq!(json["now"]["bytes"], 100 << 20);
    }

    #[test]
    fn a_cache_of_the_right_size_is_told_so() {
        expect!["The size is right: half of it would hit less (75.5 %), and doubling it gains less than a point."].assert_eq(&advice(Capacity::Entries(10_000), 5e5, 10_000.0).text);
    }

    #[test]
    fn little_is_said_after_few_reads() {
        expect!["Too few reads were sampled yet to say anything."]
            .assert_eq(&advice(Capacity::Entries(10), 10.0, 10.0).text);
    }
}
