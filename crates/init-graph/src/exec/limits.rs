//! How many nodes may run at once, by class and in all, and which of those that wait for a permit begins next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ready::Ranks;

/// The permits of one walk. Nodes that need none never come here.
pub(crate) struct Limits {
    /// The class of each node as an index, or [`FREE`].
    class_of: Box<[u16]>,
    /// Per class whether its nodes need a permit.
    bounded: Box<[bool]>,
    ranks: Ranks,
    state: Mutex<State>,
}

struct State {
    classes: Box<[Class]>,
    /// Free permits of the limit on all nodes together.
    overall: usize,
    /// As [`Class::owed`], of the limit on all.
    overall_owed: usize,
    /// Nodes that were offered, so that of equals the first comes first, across classes too.
    offered: u64,
}

struct Class {
    free: usize,
    /// Permits that were lent and are taken back as soon as they come free.
    owed: usize,
    waiting: Waiting,
}

/// The nodes of one class that wait for a permit.
enum Waiting {
    InOrder(VecDeque<(Urgency, u32)>),
    ByRank(BinaryHeap<(Urgency, u32)>),
}

/// Greater is sooner: by rank, then by who comes first.
type Urgency = (u64, Reverse<u64>);

impl Limits {
    /// `limits` per class and `overall` for all together, each at least 1 where there is one. `None` when no node needs
    /// a permit.
    pub(crate) fn new(
        class_of: Box<[u16]>,
        limits: &[Option<usize>],
        overall: Option<usize>,
        ranks: Ranks,
    ) -> Option<Self> {
        let bounded: Box<[bool]> = limits
            .iter()
            .map(|limit| limit.is_some() || overall.is_some())
            .collect();
        if !class_of.iter().any(|class| is_bounded(&bounded, *class)) {
            return None;
        }
        let class = |limit: &Option<usize>| Class {
            free: limit.unwrap_or(usize::MAX),
            owed: 0,
            waiting: Waiting::new(&ranks),
        };
        let state = State {
            classes: limits.iter().map(class).collect(),
            overall: overall.unwrap_or(usize::MAX),
            overall_owed: 0,
            offered: 0,
        };
        Some(Self {
            class_of,
            bounded,
            ranks,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn is_bounded(&self, node: u32) -> bool {
        is_bounded(&self.bounded, self.class_of[node as usize])
    }

    /// Takes the permit of `ended` back, offers the nodes that became `ready`, and returns those that begin now: first
    /// those that need no permit, then the others, the most urgent first. All of `ready` compete before any of them
    /// begins, so that the order in which they are listed decides nothing but ties. Of those that have to wait `queued`
    /// is told, before any of them could begin by another exchange; it must not come back here.
    pub(crate) fn exchange(
        &self,
        ended: Option<u32>,
        ready: &[u32],
        mut queued: impl FnMut(u32),
    ) -> Vec<u32> {
        let mut begin = Vec::new();
        let mut state = self.lock();
        if let Some(node) = ended.filter(|node| self.is_bounded(*node)) {
            state.give_back(self.class_of[node as usize]);
        }
        for node in ready {
            if self.is_bounded(*node) {
                state.offer(*node, self.class_of[*node as usize], &self.ranks);
            } else {
                begin.push(*node);
            }
        }
        while let Some(node) = state.take() {
            begin.push(node);
        }
        let mut begun = begin.clone();
        begun.sort_unstable();
        ready
            .iter()
            .filter(|node| begun.binary_search(node).is_err())
            .for_each(|node| queued(*node));
        begin
    }

    /// Takes a permit for `node` again that was given back while it waited for others; at once, so that until the next
    /// one comes free there may be one more at work than the limit says.
    pub(crate) fn take_back(&self, node: u32) {
        if self.is_bounded(node) {
            self.lock().take_back(self.class_of[node as usize]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics inside this lock; if it did, the permits would still be counted right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_back(&mut self, class: u16) {
        let class = &mut self.classes[usize::from(class)];
        give_back(&mut class.free, &mut class.owed);
        give_back(&mut self.overall, &mut self.overall_owed);
    }

    fn take_back(&mut self, class: u16) {
        let class = &mut self.classes[usize::from(class)];
        take_back(&mut class.free, &mut class.owed);
        take_back(&mut self.overall, &mut self.overall_owed);
    }

    fn offer(&mut self, node: u32, class: u16, ranks: &Ranks) {
        let urgency = match ranks.key(node) {
            Some((rank, Reverse(node))) => (rank, Reverse(node.into())),
            None => (0, Reverse(self.offered)),
        };
        self.offered += 1;
        self.classes[usize::from(class)].waiting.push(urgency, node);
    }

    /// The most urgent node that has a permit of its class and one of all.
    fn take(&mut self) -> Option<u32> {
        if self.overall == 0 {
            return None;
        }
        let free = self.classes.iter_mut().filter(|class| class.free > 0);
        let class = free
            .filter_map(|class| Some((class.waiting.first()?, class)))
            .max_by_key(|(urgency, _)| *urgency)?
            .1;
        class.free -= usize::from(class.free != usize::MAX);
        self.overall -= usize::from(self.overall != usize::MAX);
        class.waiting.pop()
    }
}

impl Waiting {
    fn new(ranks: &Ranks) -> Self {
        if ranks.are_given() {
            Self::ByRank(BinaryHeap::new())
        } else {
            Self::InOrder(VecDeque::new())
        }
    }

    fn push(&mut self, urgency: Urgency, node: u32) {
        match self {
            Self::InOrder(queue) => queue.push_back((urgency, node)),
            Self::ByRank(heap) => heap.push((urgency, node)),
        }
    }

    fn first(&self) -> Option<Urgency> {
        match self {
            Self::InOrder(queue) => queue.front().map(|(urgency, _)| *urgency),
            Self::ByRank(heap) => heap.peek().map(|(urgency, _)| *urgency),
        }
    }

    fn pop(&mut self) -> Option<u32> {
        match self {
            Self::InOrder(queue) => queue.pop_front().map(|(_, node)| node),
            Self::ByRank(heap) => heap.pop().map(|(_, node)| node),
        }
    }
}

fn is_bounded(bounded: &[bool], class: u16) -> bool {
    class != FREE && bounded[usize::from(class)]
}

fn give_back(free: &mut usize, owed: &mut usize) {
    match owed.checked_sub(1) {
        Some(left) => *owed = left,
        // What has no limit is at the most there is, and stays there.
        None => *free = free.saturating_add(1),
    }
}

fn take_back(free: &mut usize, owed: &mut usize) {
    match *free {
        usize::MAX => {}
        0 => *owed += 1,
        _ => *free -= 1,
    }
}

/// The class of nodes that have nothing to run; not even the limit on all counts them.
pub(crate) const FREE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes `0..`, each of the class `classes` says, whose ranks are `ranks` where there are any.
    fn limits(
        classes: &[u16],
        limits: &[Option<usize>],
        overall: Option<usize>,
        ranks: &[u64],
    ) -> Limits {
        let ranks = if ranks.is_empty() {
            Ranks::default()
        } else {
            Ranks::new(ranks)
        };
        Limits::new(classes.into(), limits, overall, ranks).expect("some node needs a permit")
    }

    fn exchange(limits: &Limits, ended: Option<u32>, ready: &[u32]) -> Vec<u32> {
        limits.exchange(ended, ready, |_| {})
    }

    #[test]
    fn where_no_node_needs_a_permit_there_are_no_limits() {
        let none = |class_of: &[u16], overall| {
            Limits::new(class_of.into(), &[None, Some(1)], overall, Ranks::default()).is_none()
        };
        assert!(none(&[0, 0], None));
        assert!(none(&[FREE], Some(1)));
        assert!(!none(&[0, 1], None));
        assert!(!none(&[0, 0], Some(2)));
    }

    #[test]
    fn only_those_that_have_to_wait_are_told_so() {
        let limits = limits(&[0, 0, 0, FREE], &[Some(1)], None, &[]);
        let mut queued = Vec::new();
        limits.exchange(None, &[3, 2, 1], |node| queued.push(node));
        limits.exchange(None, &[0], |node| queued.push(node));
        limits.exchange(Some(2), &[], |node| queued.push(node));
        assert_eq!(queued, [1, 0]);
    }

    #[test]
    fn a_permit_that_was_lent_is_taken_back_from_the_next_that_ends() {
        let limits = limits(&[0; 5], &[Some(1)], None, &[]);
        assert_eq!(exchange(&limits, None, &[0, 1, 2, 3]), [0]);
        assert_eq!(exchange(&limits, Some(0), &[]), [1], "0 lends its permit");
        limits.take_back(0);
        assert!(exchange(&limits, Some(1), &[]).is_empty(), "0 has it again");
        assert_eq!(exchange(&limits, Some(0), &[]), [2]);
    }

    #[test]
    fn without_ranks_the_first_offered_begins_first() {
        let limits = limits(&[0; 5], &[Some(2)], None, &[]);
        assert_eq!(exchange(&limits, None, &[4, 3, 2]), [4, 3]);
        assert_eq!(exchange(&limits, None, &[0]), [0_u32; 0]);
        assert_eq!(exchange(&limits, Some(4), &[1]), [2]);
        assert_eq!(exchange(&limits, Some(2), &[]), [0]);
        assert_eq!(exchange(&limits, Some(3), &[]), [1]);
        assert_eq!(exchange(&limits, Some(0), &[]), [0_u32; 0]);
    }

    #[test]
    fn the_highest_rank_begins_first_and_of_equals_the_lower_number() {
        let limits = limits(&[0; 5], &[Some(1)], None, &[1, 5, 5, 9, 0]);
        assert_eq!(
            exchange(&limits, None, &[0, 2, 1]),
            [1],
            "all that became ready compete"
        );
        assert_eq!(
            exchange(&limits, Some(1), &[4, 3]),
            [3],
            "and those that waited too"
        );
        assert_eq!(exchange(&limits, Some(3), &[]), [2]);
        assert_eq!(exchange(&limits, Some(2), &[]), [0]);
        assert_eq!(exchange(&limits, Some(0), &[]), [4]);
    }

    #[test]
    fn a_full_class_does_not_hold_up_another() {
        let limits = limits(
            &[0, 0, 1, 2],
            &[Some(1), Some(1), None],
            None,
            &[9, 8, 1, 0],
        );
        assert!(!limits.is_bounded(3));
        assert_eq!(exchange(&limits, None, &[0, 1, 2, 3]), [3, 0, 2]);
        assert_eq!(exchange(&limits, Some(2), &[]), [0_u32; 0]);
        assert_eq!(exchange(&limits, Some(0), &[]), [1]);
    }

    #[test]
    fn the_limit_on_all_counts_those_of_unlimited_classes() {
        let limits = limits(&[0, 1, 0, 1], &[None, Some(1)], Some(2), &[]);
        assert_eq!(
            exchange(&limits, None, &[1, 3, 0, 2]),
            [1, 0],
            "3 waits for its class"
        );
        assert_eq!(exchange(&limits, Some(0), &[]), [2]);
        assert_eq!(exchange(&limits, Some(2), &[]), [0_u32; 0]);
        assert_eq!(exchange(&limits, Some(1), &[]), [3]);
    }

    /// Node by node its duration and the nodes behind it; plays a schedule through and returns when all is done.
    fn makespan(limits: &Limits, durations: &[u64], behind: &[Vec<u32>], at_once: usize) -> u64 {
        let mut left = vec![0; durations.len()];
        behind
            .iter()
            .flatten()
            .for_each(|node| left[*node as usize] += 1);
        let roots: Vec<_> = (0..durations.len() as u32)
            .filter(|node| left[*node as usize] == 0)
            .collect();
        let (mut now, mut running) = (0, BinaryHeap::new());
        let mut begin = exchange(limits, None, &roots);
        let mut ended = 0;
        loop {
            for node in begin {
                running.push(Reverse((now + durations[node as usize], node)));
            }
            assert!(running.len() <= at_once);
            let Some(Reverse((at, node))) = running.pop() else {
                break;
            };
            (now, ended) = (at, ended + 1);
            let free: Vec<_> = behind[node as usize]
                .iter()
                .copied()
                .filter(|next| {
                    left[*next as usize] -= 1;
                    left[*next as usize] == 0
                })
                .collect();
            begin = exchange(limits, Some(node), &free);
        }
        assert_eq!(ended, durations.len(), "every node has its turn");
        now
    }

    #[test]
    fn a_schedule_by_the_longest_path_behind_beats_first_come_and_keeps_the_bound() {
        let (mut by_rank, mut in_order, mut bounds) = (0, 0, 0);
        for seed in 0..100_u64 {
            let mut state = seed;
            let mut random = |below: u64| {
                // A linear congruential generator is random enough to shape a graph.
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let nodes = 40_u32;
            let durations: Vec<_> = (0..nodes).map(|_| 1 + random(10) * random(10)).collect();
            let mut behind = vec![Vec::new(); nodes as usize];
            for node in 1..nodes {
                for _ in 0..random(3) {
                    behind[random(node.into()) as usize].push(node);
                }
            }
            let mut ranks = durations.clone();
            for node in (0..nodes as usize).rev() {
                let longest = behind[node].iter().map(|next| ranks[*next as usize]).max();
                ranks[node] += longest.unwrap_or(0);
            }
            let at_once = 4;
            let classes = vec![0; nodes as usize];
            let bound = ranks.iter().copied().max().unwrap_or(0);
            let bound = bound.max(durations.iter().sum::<u64>().div_ceil(at_once as u64));
            let ranked = limits(&classes, &[Some(at_once)], None, &ranks);
            let fifo = limits(&classes, &[Some(at_once)], None, &[]);
            let ranked = makespan(&ranked, &durations, &behind, at_once);
            // Graham's bound holds for every schedule that leaves no permit idle.
            assert!(bound <= ranked && ranked <= 2 * bound, "seed {seed}");
            by_rank += ranked;
            in_order += makespan(&fifo, &durations, &behind, at_once);
            bounds += bound;
        }
        assert!(by_rank <= in_order, "{by_rank} against {in_order}");
        assert!(by_rank * 100 <= bounds * 105, "{by_rank} against {bounds}");
    }
}
