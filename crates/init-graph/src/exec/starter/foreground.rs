//! The nodes that a start waits for, where that is not all of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::plan::NodeId;
use crate::run::Run;

/// The nodes that a start waits for, where that is not all of them.
pub(super) struct Foreground {
    waits: Box<[bool]>,
    pub(super) left: AtomicUsize,
    pub(super) done: Notify,
}

impl Foreground {
    /// Without those in the background, those that wait to be asked for, and those behind either.
    pub(super) fn of(run: &Run) -> Option<Self> {
        let nodes = run.core.plan.nodes();
        if !nodes.iter().any(|node| node.background || node.lazy) {
            return None;
        }
        let mut waits: Box<[bool]> = nodes
            .iter()
            .map(|node| !node.background && !node.lazy)
            .collect();
        // In start order, so that what is behind comes later.
        for node in nodes {
            if !waits[node.id.index()] {
                for behind in run.dependents.of(node.id) {
                    waits[behind.index()] = false;
                }
            }
        }
        let left = waits.iter().filter(|waits| **waits).count();
        Some(Self {
            waits,
            left: AtomicUsize::new(left),
            done: Notify::new(),
        })
    }

    pub(super) fn note(&self, id: NodeId) {
        if self.waits[id.index()] && self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_waiters();
        }
    }
}
