//! This start beside earlier ones: which nodes took much longer than usual.

use std::time::Duration;

use crate::history::History;
use crate::report::{Outcome, Report};

/// A start beside earlier ones.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The nodes that took much longer than usual, by how much longer, most first.
    pub slower: Vec<Slower>,
    /// The median of how long earlier starts of this very graph took; `None` when there were none.
    pub usual_took: Option<Duration>,
}

/// A node that took much longer than usual: at least half as long again, by 10 milliseconds or more.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Slower {
    /// Its name.
    pub name: String,
    /// Its own time in this start.
    pub now: Duration,
    /// The median of its own times in earlier starts.
    pub median: Duration,
    /// `now` by `median`; infinite when the median is zero.
    pub factor: f64,
}

impl Report {
    /// Puts this start beside earlier ones. Nodes are known by their names; only those that became ready count, in this
    /// start and in at least two earlier ones.
    pub fn compare(&self, earlier: &History) -> Comparison {
        let ready = self.nodes().filter(|node| node.outcome() == Outcome::Ready);
        let mut slower: Vec<_> = ready
            .filter_map(|node| {
                let (median, runs) = earlier.usual(node.name())?;
                let now = node.own();
                let much = now >= median.saturating_mul(3) / 2
                    && now.saturating_sub(median) >= DIFFERENCE_MIN;
                (runs >= RUNS_MIN && much).then(|| Slower {
                    name: node.name().to_owned(),
                    now,
                    median,
                    factor: now.as_secs_f64() / median.as_secs_f64(),
                })
            })
            .collect();
        slower.sort_by_key(|slower| std::cmp::Reverse(slower.now - slower.median));
        Comparison {
            slower,
            usual_took: earlier.usual_took(self.fingerprint()),
        }
    }

    /// The nodes that took much longer than usual, by how much longer; empty without [`Graph::history`].
    ///
    /// [`Graph::history`]: crate::Graph::history
    pub fn slower(&self) -> Vec<Slower> {
        let earlier = self.inner.parts.earlier.as_deref();
        earlier.map_or_else(Vec::new, |earlier| self.compare(earlier).slower)
    }

    /// A hash of the names and edges of the graph, the same in every process.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = Fnv::default();
        for node in self.nodes() {
            hash.add(node.name().as_bytes());
            for dependency in self.dependencies(node.node) {
                hash.add(&dependency.0.to_le_bytes());
            }
            hash.add(&[0xff]);
        }
        hash.0
    }
}

/// FNV-1a, 64 bits: short, and it stays the same from release to release, which std's hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Less than this is noise of the scheduler and the timer.
const DIFFERENCE_MIN: Duration = Duration::from_millis(10);

/// One start says nothing about what is usual.
const RUNS_MIN: usize = 2;
