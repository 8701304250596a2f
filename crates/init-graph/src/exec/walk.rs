//! Visits the nodes of a graph in parallel along its edges, driven by completion: whoever finishes a node starts what
//! became free by it. There are no layers, no central scheduler and no channel per edge. Start and stop both walk,
//! the one along the dependents, the other along the dependencies.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::Instrument as _;

use crate::plan::NodeId;
use crate::wiring::Csr;

/// What one visit does.
pub(crate) trait Visitor: Send + Sync + 'static {
    /// Visits `node`; all nodes before it have been visited.
    fn visit(&self, node: NodeId) -> impl Future<Output = Flow> + Send;
}

/// Whether a visit lets the nodes behind it begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Release,
    Halt,
}

pub(crate) struct Walk<V> {
    pub(crate) visitor: V,
    /// Per node the edges to it that are not released yet.
    remaining: Box<[AtomicU32]>,
    next: Csr<NodeId>,
    /// Tasks that are alive; the walk is over when it falls to zero.
    active: AtomicUsize,
    done: Notify,
}

impl<V: Visitor> Walk<V> {
    /// A walk that visits a node after every node from which an edge of `next` leads to it.
    pub(crate) fn new(visitor: V, next: Csr<NodeId>) -> Arc<Self> {
        let mut remaining = vec![0_u32; next.len()];
        for node in 0..next.len() as u32 {
            for follower in next.of(NodeId(node)) {
                remaining[follower.index()] += 1;
            }
        }
        let remaining = remaining.into_iter().map(AtomicU32::new).collect();
        Arc::new(Self {
            visitor,
            remaining,
            next,
            active: AtomicUsize::new(0),
            done: Notify::new(),
        })
    }

    /// Starts a task for each node that waits for none.
    pub(crate) fn begin(self: &Arc<Self>) {
        // Held until all roots are spawned, so that the walk cannot seem to be over in between.
        let _active = Active::new(self);
        // Collected first: a fast root may free others, which are then not roots.
        let roots: Vec<_> = (0..)
            .zip(&self.remaining)
            .filter(|(_, left)| left.load(Ordering::Relaxed) == 0)
            .collect();
        for (root, _) in roots {
            self.spawn(NodeId(root));
        }
    }

    /// Waits until no task of the walk is alive; for one waiter.
    pub(crate) async fn done(&self) {
        self.done.notified().await;
        // So that a wait that was dropped and one that comes later see the end as well.
        self.done.notify_one();
    }

    fn spawn(self: &Arc<Self>, node: NodeId) {
        let walk = Arc::clone(self).drive(node, Active::new(self));
        // Boxed as a named type: the future spawns itself, and its type cannot contain itself.
        let walk: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(walk);
        tokio::spawn(walk.in_current_span());
    }

    async fn drive(self: Arc<Self>, first: NodeId, _active: Active<V>) {
        let mut hops = 0_u32;
        let mut next = Some(first);
        while let Some(node) = next.take() {
            if self.visitor.visit(node).await == Flow::Release {
                next = self.release(node);
            }
            hops += 1;
            if hops.is_multiple_of(HOPS_PER_YIELD) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Counts `node` off at its followers, keeps one that became free for this task and spawns the others.
    fn release(self: &Arc<Self>, node: NodeId) -> Option<NodeId> {
        let mut mine = None;
        for follower in self.next.of(node) {
            // Release publishes what the visit wrote, acquire lets the last one see what all the others wrote.
            if self.remaining[follower.index()].fetch_sub(1, Ordering::AcqRel) == 1
                && let Some(other) = mine.replace(*follower)
            {
                self.spawn(other);
            }
        }
        mine
    }
}

/// A task of a walk that is alive; counted off on drop, so that not even a panic leaves the walk waiting.
struct Active<V>(Arc<Walk<V>>);

impl<V> Active<V> {
    fn new(walk: &Arc<Walk<V>>) -> Self {
        walk.active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(walk))
    }
}

impl<V> Drop for Active<V> {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.done.notify_one();
        }
    }
}

/// A chain of instant nodes runs in one task; it gives way to others this often.
const HOPS_PER_YIELD: u32 = 64;
