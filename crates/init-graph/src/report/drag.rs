//! What the start would have taken without each of the nodes that decided it, for all of them in one pass.
//!
//! In an order in which each activity comes behind those before it, a way through the graph that avoids the activity `c`
//! has one edge that leads from before the place of `c` to behind it, or it begins behind `c`, or it ends before `c`. So
//! every edge is an interval of places with the length of the longest way over that edge, and the longest way around `c`
//! is the largest of the intervals that `c` lies in. O((V + E) log V), and only intervals around activities without
//! slack count, which are few.

use crate::report::analysis::Analysis;

pub(crate) struct Detours {
    /// The activities without slack, by their places in the order.
    critical: Box<[u32]>,
    /// For each of these the length of the longest way that avoids it.
    around: Box<[u64]>,
    places: Box<[u32]>,
}

impl Detours {
    pub(crate) fn new(analysis: &Analysis) -> Self {
        let activities = &analysis.activities;
        let places = activities.places();
        let critical: Vec<u32> = (0..activities.len())
            .filter(|place| analysis.is_critical(activities.at(*place)))
            .map(|place| place as u32)
            .collect();
        let mut longest = Intervals::new(critical.len());
        // The critical ones at or behind a place.
        let from = |place: u32| critical.partition_point(|at| *at < place);
        for place in 0..activities.len() as u32 {
            let activity = activities.at(place as usize);
            let (here, behind) = (from(place), from(place + 1));
            let tail = analysis.longest_from(activity);
            if !analysis.is_awaited(activity) {
                continue;
            }
            let before = activities.before.of(activity);
            if before.is_empty() {
                longest.raise(0, here, tail);
            }
            for other in before {
                let way = activities.end[*other as usize] + tail;
                longest.raise(from(places[*other as usize] + 1), here, way);
            }
            if analysis.ends_start(activity) {
                longest.raise(behind, critical.len(), activities.end[activity as usize]);
            }
        }
        Self {
            around: longest.each(),
            critical: critical.into(),
            places,
        }
    }

    /// The length of the longest way that avoids a critical activity.
    pub(crate) fn around(&self, activity: u32) -> u64 {
        let place = self.places[activity as usize];
        self.critical
            .binary_search(&place)
            .map_or(0, |at| self.around[at])
    }
}

/// Numbers that are raised over whole ranges and read at the end: a tree of ranges, each with what all of it is at least.
struct Intervals {
    tree: Vec<u64>,
}

impl Intervals {
    fn new(count: usize) -> Self {
        Self {
            tree: vec![0; 2 * count],
        }
    }

    /// Raises the numbers `from..to` to `value`, where they are lower.
    fn raise(&mut self, from: usize, to: usize, value: u64) {
        let count = self.tree.len() / 2;
        let (mut from, mut to) = (from + count, to + count);
        while from < to {
            if from % 2 == 1 {
                self.tree[from] = self.tree[from].max(value);
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                self.tree[to] = self.tree[to].max(value);
            }
            from /= 2;
            to /= 2;
        }
    }

    fn each(mut self) -> Box<[u64]> {
        let count = self.tree.len() / 2;
        for at in 2..self.tree.len() {
            self.tree[at] = self.tree[at].max(self.tree[at / 2]);
        }
        self.tree.split_off(count).into()
    }
}
