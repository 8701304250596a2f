//! The hit ratio by size: reuse distances in buckets that grow with them.

/// How often each reuse distance was seen, scaled to all keys; eight buckets for each doubling, 2 KiB.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    buckets: Vec<f64>,
    /// Reads that were no hit at any size.
    never: f64,
}

impl Curve {
    pub(super) fn new() -> Self {
        Self {
            buckets: vec![0.0; BUCKETS],
            never: 0.0,
        }
    }

    /// Counts a read whose distance among the sampled keys, one key in `1 / rate`, was `distance`.
    pub(super) fn add(&mut self, distance: Option<usize>, rate: f64) {
        match distance {
            Some(distance) => self.buckets[bucket(distance as f64 / rate)] += 1.0,
            None => self.never += 1.0,
        }
    }

    /// Counts everything so far `factor` times, as one does when fewer keys are sampled from now on.
    pub(super) fn scale(&mut self, factor: f64) {
        self.buckets.iter_mut().for_each(|count| *count *= factor);
        self.never *= factor;
    }

    pub(super) fn reads(&self) -> f64 {
        self.buckets.iter().sum::<f64>() + self.never
    }

    /// The share of hits in an LRU cache of so many entries, if there had been `expected` sampled reads.
    ///
    /// The sample may hold the hottest key, or not: what it has too many or too few reads for that is
    /// taken for reads of very hot keys (the paper's SHARDS-adj).
    pub(super) fn hit_ratio(&self, entries: f64, expected: f64) -> f64 {
        let surplus = expected - self.reads();
        let at = position(entries);
        let whole = at as usize;
        let below: f64 = self.buckets[..whole.min(BUCKETS)].iter().sum();
        let part = self
            .buckets
            .get(whole)
            .map_or(0.0, |count| count * at.fract());
        let hits = (below + part + surplus).max(0.0);
        if expected <= 0.0 {
            return 0.0;
        }
        (hits / expected).clamp(0.0, 1.0)
    }
}

fn bucket(distance: f64) -> usize {
    (position(distance) as usize).min(BUCKETS - 1)
}

/// Where a distance lies on the scale of the buckets: distances 0 to 1 fill the first one.
fn position(distance: f64) -> f64 {
    if distance < 1.0 {
        return distance.max(0.0);
    }
    1.0 + distance.log2() * PER_DOUBLING
}

const PER_DOUBLING: f64 = 8.0;
/// Up to distances of four thousand million.
const BUCKETS: usize = 257;

#[cfg(test)]
mod tests {
    use super::Curve;

    #[test]
    fn the_ratio_grows_with_the_size_and_counts_what_never_hits() {
        let mut curve = Curve::new();
        (0..100).for_each(|distance| curve.add(Some(distance), 0.1));
        (0..100).for_each(|_| curve.add(None, 0.1));
        let ratios = [0.0, 250.0, 500.0, 1_100.0].map(|size| curve.hit_ratio(size, 200.0));
        assert!(ratios.is_sorted());
        assert_eq!(ratios[0], 0.0);
        assert!((ratios[1] - 0.125).abs() < 0.01, "{ratios:?}");
        assert_eq!(ratios[3], 0.5);
        assert_eq!(curve.hit_ratio(1_100.0, 0.0), 0.0);
        // Half of the reads that were expected are missing: they were of hot keys.
        assert_eq!(curve.hit_ratio(1_100.0, 400.0), 0.75);
    }
}
