//! What the start did as a whole: work, parallelism, and how close it came to the shortest time that was possible.

use std::time::Duration;

use crate::class::Class;
use crate::report::{Outcome, Report};

impl Report {
    /// The own times of all nodes that the start waited for, together.
    pub fn work(&self) -> Duration {
        self.awaited(|_| true)
    }

    /// How many nodes ran at once on average: [`work`](Self::work) by [`took`](Self::took); 0 for a start without any.
    pub fn parallelism(&self) -> f64 {
        ratio(self.work(), self.took()).unwrap_or(0.0)
    }

    /// The shortest time that any order could have reached with these nodes and limits: the longest path of own times
    /// (waits between attempts included), or the work of a class by its limit, or all work by the limit on all of it,
    /// whichever is the longest.
    ///
    /// Never more than [`took`](Self::took), which it could otherwise be by an error of measurement.
    pub fn lower_bound(&self) -> Duration {
        self.bound().0
    }

    /// [`lower_bound`](Self::lower_bound) by [`took`](Self::took), from 0 to 1: 1 means that no order of starting can be
    /// quicker, only quicker components. 1 for a start that took no time.
    pub fn efficiency(&self) -> f64 {
        ratio(self.lower_bound(), self.took()).unwrap_or(1.0)
    }

    /// The lower bound and what it comes from.
    pub(super) fn bound(&self) -> (Duration, Bound<'_>) {
        let longest = Duration::from_nanos(self.analysis().longest_own());
        let mut bound = (longest, Bound::Path);
        let mut offer = |work: Duration, limit: usize, by| {
            let share = work.div_f64(limit.max(1) as f64);
            if share > bound.0 {
                bound = (share, by);
            }
        };
        if let Some(limit) = self.inner.parts.concurrency {
            offer(self.work(), limit, Bound::All);
        }
        for (place, (class, limit)) in self.limits().iter().enumerate() {
            let work = self.awaited(|node| self.record(node).limit() == Some(place));
            offer(work, *limit, Bound::Class(class));
        }
        (bound.0.min(self.took()), bound.1)
    }

    /// The own times of the nodes that the start waited for and that `counts` holds for.
    fn awaited(&self, counts: impl Fn(u32) -> bool) -> Duration {
        let nodes = self.nodes().filter(|node| {
            node.outcome() != Outcome::Value
                && counts(node.node)
                && self.analysis().is_awaited(node.node)
        });
        nodes
            .map(|node| node.own())
            .fold(Duration::ZERO, Duration::saturating_add)
    }

    /// How much of a node's attempts it spent in waiting for what it asked a `Lazy` for, in nanoseconds.
    pub(super) fn waited_inside(&self, node: u32) -> u64 {
        if self.inner.parts.lazy.is_empty() {
            return 0;
        }
        let waited = &self.analysis().activities.waited_inside;
        waited
            .binary_search_by_key(&node, |(owner, _)| *owner)
            .map_or(0, |at| waited[at].1)
    }
}

/// What keeps a start from being shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound<'a> {
    Path,
    All,
    Class(&'a Class),
}

/// `None` for a part of nothing.
pub(super) fn ratio(part: Duration, whole: Duration) -> Option<f64> {
    (!whole.is_zero()).then(|| part.as_secs_f64() / whole.as_secs_f64())
}
