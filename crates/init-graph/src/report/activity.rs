//! The start as activities in a graph: what had to end before what could go on, with the times as measured. A node is one
//! activity; a node that asked for a `Lazy` and waited for it is two, one before it asked and one after it got it.

use std::collections::HashSet;

use crate::plan::{NodeId, Plan};
use crate::report::record::{LazyUse, Record, nanos};
use crate::wiring::Csr;

/// Activities `0..nodes` are the nodes, or their second halves; those behind are first halves.
pub(crate) struct Activities {
    /// Nodes of the plan.
    nodes: usize,
    /// The nodes of the first halves.
    first_halves: Box<[u32]>,
    pub(crate) before: Csr,
    /// Every activity behind those that are before it; `None` when the numbers are such an order already.
    order: Option<Box<[u32]>>,
    /// When each ended, in nanoseconds since the begin of the start.
    pub(crate) end: Box<[u64]>,
    /// How much of each was spent by the node itself: its attempts and the waits between them.
    pub(crate) span: Box<[u64]>,
    /// How much of the time of a node's attempts was spent in waiting for a `Lazy`.
    pub(crate) waited_inside: Vec<(u32, u64)>,
}

impl Activities {
    pub(crate) fn new(plan: &Plan, records: &[Record], lazy: &[LazyUse]) -> Self {
        let nodes = records.len();
        let mut halves = Halves::of(plan, records, lazy);
        let mut edges = Vec::new();
        for (node, record) in (0_u32..).zip(records) {
            let (first, end) = halves.first(node).unwrap_or((node, record.settled));
            for dependency in dependencies(plan, node) {
                let other = &records[dependency.index()];
                // What never ended, or ended later, held nothing up.
                if other.outcome.is_settled() && other.settled <= end {
                    edges.push((first, dependency.0));
                }
            }
        }
        edges.append(&mut halves.edges);
        let count = nodes + halves.nodes.len();
        let mut end: Vec<u64> = records
            .iter()
            .map(|record| {
                if record.outcome.is_settled() {
                    record.settled
                } else {
                    0
                }
            })
            .collect();
        end.extend(&halves.end);
        let mut span: Vec<u64> = records
            .iter()
            .map(|record| record.own.saturating_add(record.backoff))
            .collect();
        span.extend(&halves.span);
        let before = Csr::new(count, &edges);
        let order = if halves.nodes.is_empty() {
            None
        } else {
            order(&before)
        };
        if !halves.nodes.is_empty() && order.is_none() {
            // Impossible times; the plan alone is always in order.
            return Self::new(plan, records, &[]);
        }
        Self {
            nodes,
            first_halves: halves.nodes.into(),
            before,
            order,
            end: end.into(),
            span: span.into(),
            waited_inside: halves.waited,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.end.len()
    }

    /// The node that an activity is part of.
    pub(crate) fn node_of(&self, activity: u32) -> u32 {
        match (activity as usize).checked_sub(self.nodes) {
            Some(half) => self.first_halves[half],
            None => activity,
        }
    }

    pub(crate) fn is_first_half(&self, activity: u32) -> bool {
        activity as usize >= self.nodes
    }

    /// The activities of a node, the last one first.
    pub(crate) fn of_node(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        // Few nodes are halved, and they are in order.
        let half = self.first_halves.binary_search(&node).ok();
        std::iter::once(node).chain(half.map(|at| (self.nodes + at) as u32))
    }

    /// The activity at a place in the order.
    pub(crate) fn at(&self, place: usize) -> u32 {
        self.order
            .as_ref()
            .map_or(place as u32, |order| order[place])
    }

    /// The place of each activity in the order.
    pub(crate) fn places(&self) -> Box<[u32]> {
        let mut places = vec![0; self.len()];
        for place in 0..self.len() {
            places[self.at(place) as usize] = place as u32;
        }
        places.into()
    }

    /// When the last activity before this one ended.
    pub(crate) fn arrival(&self, activity: u32) -> u64 {
        let ends = self
            .before
            .of(activity)
            .iter()
            .map(|other| self.end[*other as usize]);
        ends.max().unwrap_or(0)
    }

    /// The activity before this one that ended last; the first of several.
    pub(crate) fn last_before(&self, activity: u32) -> Option<u32> {
        let before = self.before.of(activity).iter().copied();
        before.min_by_key(|other| std::cmp::Reverse(self.end[*other as usize]))
    }

    /// From the end of the last activity before it to its own end.
    pub(crate) fn weight(&self, activity: u32) -> u64 {
        self.end[activity as usize].saturating_sub(self.arrival(activity))
    }

    /// The part of the weight that would go if the node took no time.
    pub(crate) fn own(&self, activity: u32) -> u64 {
        self.weight(activity).min(self.span[activity as usize])
    }
}

/// The first halves, which take the numbers behind the nodes.
#[derive(Default)]
struct Halves {
    base: usize,
    nodes: Vec<u32>,
    end: Vec<u64>,
    span: Vec<u64>,
    edges: Vec<(u32, u32)>,
    /// Nodes that began because of a question, each with the activity that came before the question.
    begun: Vec<(u32, u32)>,
    waited: Vec<(u32, u64)>,
}

impl Halves {
    fn of(plan: &Plan, records: &[Record], lazy: &[LazyUse]) -> Self {
        let mut halves = Self {
            base: records.len(),
            ..Self::default()
        };
        let mut waits: Vec<Wait> = lazy
            .iter()
            .filter_map(|used| Wait::new(records, used))
            .collect();
        waits.sort_unstable_by_key(|wait| (wait.owner, wait.until));
        for waits in waits.chunk_by(|one, other| one.owner == other.owner) {
            halves.add(plan, records, waits);
        }
        for (node, before) in std::mem::take(&mut halves.begun) {
            let first = halves.first(node).map_or(node, |(half, _)| half);
            halves.edges.push((first, before));
        }
        halves
    }

    /// Halves the owner of `waits`, which are sorted by their ends.
    fn add(&mut self, plan: &Plan, records: &[Record], waits: &[Wait]) {
        let Some(asked) = waits.iter().map(|wait| wait.from).min() else {
            return;
        };
        let owner = waits[0].owner;
        let half = (self.base + self.nodes.len()) as u32;
        self.nodes.push(owner);
        self.end.push(asked);
        self.span.push(asked - records[owner as usize].began);
        self.edges.push((owner, half));
        let mut inside = 0;
        let mut covered = 0;
        for (at, wait) in waits.iter().enumerate() {
            self.edges.push((owner, wait.target));
            inside += wait.until - wait.from.clamp(covered, wait.until);
            covered = wait.until;
            // What began because of this owner is behind the latest wait that was over by then, or behind the first half.
            let earlier = waits[..at]
                .iter()
                .rfind(|earlier| earlier.until <= wait.from);
            let before = earlier.map_or(half, |earlier| earlier.target);
            let begun = wait.begun(plan, records).into_iter();
            self.begun.extend(begun.map(|node| (node, before)));
        }
        self.waited.push((owner, inside));
    }

    /// The first half of `node`, which is what waits for its dependencies, and when it ended.
    fn first(&self, node: u32) -> Option<(u32, u64)> {
        let half = self.nodes.binary_search(&node).ok()?;
        Some(((self.base + half) as u32, self.end[half]))
    }
}

/// A `Lazy` that was not ready when its owner asked.
struct Wait {
    owner: u32,
    target: u32,
    from: u64,
    until: u64,
}

impl Wait {
    fn new(records: &[Record], used: &LazyUse) -> Option<Self> {
        let owner = records.get(used.owner.index())?;
        let target = records.get(used.target.index())?;
        let until = target.settled;
        let from = nanos(used.asked).clamp(owner.began, owner.settled);
        let settled = owner.outcome.is_settled() && target.outcome.is_settled();
        (settled && used.owner != used.target && from < until && until <= owner.settled).then_some(
            Self {
                owner: used.owner.0,
                target: used.target.0,
                from,
                until,
            },
        )
    }
}

impl Wait {
    /// The target, if it began because of this question, and what it needs that began with it.
    fn begun(&self, plan: &Plan, records: &[Record]) -> Vec<u32> {
        let fresh = |node: u32| {
            let record = &records[node as usize];
            record.free_at >= self.from && record.outcome.is_settled()
        };
        let mut begun: Vec<u32> = Some(self.target)
            .filter(|node| fresh(*node))
            .into_iter()
            .collect();
        let mut seen = HashSet::from([self.target]);
        let mut open = vec![self.target];
        while let Some(node) = open.pop() {
            for dependency in dependencies(plan, node) {
                let lazy = plan.node(*dependency).is_lazy();
                if lazy && fresh(dependency.0) && seen.insert(dependency.0) {
                    begun.push(dependency.0);
                    open.push(dependency.0);
                }
            }
        }
        begun
    }
}

/// What must be settled before `node` begins.
pub(crate) fn dependencies(plan: &Plan, node: u32) -> &[NodeId] {
    plan.dependencies(NodeId(node))
}

/// An order in which each activity comes behind those before it; `None` when there is a cycle.
fn order(before: &Csr) -> Option<Box<[u32]>> {
    let after = before.reversed();
    let count = before.len();
    let mut open: Vec<usize> = (0..count as u32).map(|at| before.of(at).len()).collect();
    let mut order: Vec<u32> = (0..count as u32)
        .filter(|at| open[*at as usize] == 0)
        .collect();
    let mut next = 0;
    while let Some(activity) = order.get(next).copied() {
        next += 1;
        for follower in after.of(activity) {
            open[*follower as usize] -= 1;
            if open[*follower as usize] == 0 {
                order.push(*follower);
            }
        }
    }
    (order.len() == count).then(|| order.into())
}
