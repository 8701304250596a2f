//! Nodes that are ready to begin, in the order in which they should: as they came, or the most critical first.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// How urgent each node is, higher first; by default none is more so than another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranks(Option<Arc<[u64]>>);

/// Without ranks first in, first out; with ranks the highest first and of equals the one with the lower number.
pub(crate) enum Ready {
    InOrder(VecDeque<u32>),
    ByRank(BinaryHeap<Key>),
}

/// Greater is sooner.
pub(crate) type Key = (u64, std::cmp::Reverse<u32>);

impl Ranks {
    pub(crate) fn new(ranks: impl Into<Arc<[u64]>>) -> Self {
        Self(Some(ranks.into()))
    }

    pub(crate) fn is_before(&self, node: u32, other: u32) -> bool {
        self.0
            .as_ref()
            .is_some_and(|ranks| key(ranks, node) > key(ranks, other))
    }

    pub(crate) fn are_given(&self) -> bool {
        self.0.is_some()
    }

    /// `None` where no node is more urgent than another.
    pub(crate) fn key(&self, node: u32) -> Option<Key> {
        self.0.as_ref().map(|ranks| key(ranks, node))
    }
}

fn key(ranks: &[u64], node: u32) -> Key {
    (ranks[node as usize], std::cmp::Reverse(node))
}

impl Ready {
    pub(crate) fn new(ranks: &Ranks) -> Self {
        match ranks.0 {
            None => Self::InOrder(VecDeque::new()),
            Some(_) => Self::ByRank(BinaryHeap::new()),
        }
    }

    pub(crate) fn push(&mut self, node: u32, ranks: &Ranks) {
        match self {
            Self::InOrder(queue) => queue.push_back(node),
            Self::ByRank(heap) => {
                heap.push(ranks.key(node).unwrap_or((0, std::cmp::Reverse(node))));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        match self {
            Self::InOrder(queue) => queue.pop_front(),
            Self::ByRank(heap) => heap.pop().map(|(_, std::cmp::Reverse(node))| node),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::InOrder(queue) => queue.is_empty(),
            Self::ByRank(heap) => heap.is_empty(),
        }
    }
}
