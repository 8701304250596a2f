//! Visits the nodes of a graph in parallel along its edges, driven by completion: whoever finishes a node goes on with
//! what became free by it. There are no layers, no central scheduler and no channel per edge. Start, stop and restart
//! all walk, along the dependents or along the dependencies. The decisions are the hand-off's, the tasks are here.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{Instrument as _, Span};

use super::handoff::{DEFERRED, Handoff, Turn};
use super::limits::Limits;
use super::ready::Ranks;
use crate::plan::NodeId;

/// What one visit does.
pub(crate) trait Visitor: Send + Sync + 'static {
    /// The nodes that are visited after `node`, each once, and always the same.
    fn behind(&self, node: NodeId) -> &[NodeId];

    /// Visits `node`; all nodes before it have been visited.
    ///
    /// It may take its thread as long as it needs, which delays no other node. Its task is not its own: it may have
    /// visited other nodes, and may visit others afterwards.
    fn visit(&self, node: NodeId) -> impl Future<Output = Flow> + Send;

    /// Notes that `node` could begin and has to wait for a permit. Called under the lock of the permits, so that it
    /// cannot begin before: it must not wait.
    fn queued(&self, _node: NodeId) {}

    /// Notes that the runtime shuts down, so that no node has its turn any more.
    fn gone(&self) {}

    /// Waits until a node that asked for it has its turn [again](Flow::Again); may end early.
    fn pause(&self, _node: NodeId, wait: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(wait)
    }
}

/// What comes after a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The nodes behind it may begin.
    Release,
    /// They may not, as far as it goes by this one.
    Halt,
    /// The node is visited once more, so long after this; until then it holds no permit.
    Again(Duration),
}

/// Which nodes a walk visits, in which order, and how many at once.
pub(crate) struct Way {
    /// Per node the edges to it, with [`DEFERRED`] on top.
    remaining: Vec<u32>,
    ranks: Ranks,
    limits: Option<Limits>,
}

pub(crate) struct Walk<V> {
    pub(crate) visitor: V,
    handoff: Handoff,
    limits: Option<Limits>,
    over: Notify,
    runtime: Handle,
    span: Span,
}

impl Way {
    /// To each of so many nodes, in the order that `visitor` tells.
    pub(crate) fn new(visitor: &impl Visitor, nodes: usize) -> Self {
        Self::among(visitor, nodes, |_| true)
    }

    /// To the nodes that are `within` only, as if all others had been visited.
    pub(crate) fn among(
        visitor: &impl Visitor,
        nodes: usize,
        within: impl Fn(NodeId) -> bool,
    ) -> Self {
        let mut remaining = vec![0_u32; nodes];
        let ids = (0..nodes as u32).map(NodeId);
        for node in ids.clone().filter(|node| within(*node)) {
            for follower in visitor.behind(node) {
                remaining[follower.index()] += 1;
            }
        }
        let mut way = Self {
            remaining,
            ranks: Ranks::default(),
            limits: None,
        };
        ids.filter(|node| !within(*node))
            .for_each(|node| way.defer(node));
        way
    }

    /// Leaves `node`, and with it all behind it, until it is [activated](Walk::activate).
    pub(crate) fn defer(&mut self, node: NodeId) {
        self.remaining[node.index()] |= DEFERRED;
    }

    /// Visits the more urgent of several free nodes first.
    pub(crate) fn ranked(mut self, ranks: Ranks) -> Self {
        self.ranks = ranks;
        self
    }

    /// Visits only as many at once.
    pub(crate) fn limited(mut self, limits: Option<Limits>) -> Self {
        self.limits = limits;
        self
    }
}

impl<V: Visitor> Walk<V> {
    /// A walk whose tasks run on the current runtime and in the current span.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(crate) fn new(visitor: V, way: Way) -> Arc<Self> {
        Arc::new(Self {
            visitor,
            handoff: Handoff::new(way.remaining, way.ranks),
            limits: way.limits,
            over: Notify::new(),
            runtime: Handle::current(),
            span: Span::current(),
        })
    }

    /// Lets the nodes begin that wait for none; once.
    pub(crate) fn begin(self: &Arc<Self>) {
        let roots = self.handoff.roots();
        self.hand_in(&roots);
    }

    /// Lets `node`, which was deferred, begin as soon as all before it have been visited. A second time does nothing.
    pub(crate) fn activate(self: &Arc<Self>, node: NodeId) {
        if self.handoff.activate(node.0) {
            self.hand_in(&[node.0]);
        }
    }

    /// Whether no node is on its way.
    pub(crate) fn is_over(&self) -> bool {
        self.handoff.is_over()
    }

    /// Waits until no node is on its way; those that are activated later bring it back to life.
    pub(crate) async fn done(&self) {
        loop {
            // Made before the question, so that an end in between is not missed.
            let over = self.over.notified();
            if self.handoff.is_over() {
                return;
            }
            over.await;
        }
    }

    /// Lets others have the permit of `node` while it waits for what they do; until [`take_back`](Self::take_back).
    pub(crate) fn lend(self: &Arc<Self>, node: NodeId) {
        if let Some(limits) = &self.limits
            && self.handoff.push(&self.exchange(limits, Some(node.0), &[]))
        {
            self.spawn(None);
        }
    }

    pub(crate) fn take_back(&self, node: NodeId) {
        if let Some(limits) = &self.limits {
            limits.take_back(node.0);
        }
    }

    fn hand_in(self: &Arc<Self>, nodes: &[u32]) {
        self.handoff.announce(nodes.len());
        let relief = match &self.limits {
            None => self.handoff.push(nodes),
            Some(limits) => self.handoff.push(&self.exchange(limits, None, nodes)),
        };
        if relief {
            self.spawn(None);
        }
    }

    /// Spawns a driver that carries a node, or the relief, which carries none.
    fn spawn(self: &Arc<Self>, carried: Option<u32>) {
        let driver = Driver {
            walk: Arc::clone(self),
            ended: false,
        };
        let driver = driver.drive(carried);
        // Nobody waits for a driver: what it does not do for its nodes is noticed by their number.
        drop(self.runtime.spawn(driver.instrument(self.span.clone())));
    }

    /// The work of one driver; in the span of the walk.
    async fn drive(self: &Arc<Self>, carried: Option<u32>) {
        let mut turn = match carried {
            None => self.handoff.arrive(),
            Some(node) => Turn::of(node),
        };
        let mut hops = 0;
        loop {
            if turn.over {
                self.over.notify_waiters();
            }
            if turn.relief {
                // A task that is spawned on a thread of the runtime waits where no other thread can take it from, until
                // this one comes back from the poll. One that wakes itself waits where all threads look. So the new task
                // carries the node, which may keep the thread, and this one becomes the relief.
                if turn.node.is_some() {
                    self.spawn(turn.node);
                }
                requeued().await;
                (turn, hops) = (self.handoff.arrive(), 0);
                continue;
            }
            let Some(node) = turn.node else { return };
            if hops == HOPS_PER_TURN {
                if !self.handoff.give_way(node) {
                    return;
                }
                requeued().await;
                (turn, hops) = (self.handoff.arrive(), 0);
                continue;
            }
            hops += 1;
            let lost = Lost { walk: self, node };
            let flow = self.visitor.visit(NodeId(node)).await;
            turn = match flow {
                Flow::Release => self.release(node),
                Flow::Halt => self.halt(node),
                Flow::Again(wait) => {
                    hops = 0;
                    self.again(node, wait).await
                }
            };
            std::mem::forget(lost);
        }
    }

    fn release(&self, node: u32) -> Turn {
        let followers = self.visitor.behind(NodeId(node));
        let Some(limits) = &self.limits else {
            return self.handoff.complete(followers);
        };
        let free: Vec<_> = self.handoff.count_off(followers).collect();
        self.handoff.announce(free.len());
        self.handoff
            .hand_on(&self.exchange(limits, Some(node), &free))
    }

    fn halt(&self, node: u32) -> Turn {
        match &self.limits {
            None => self.handoff.end(),
            Some(limits) => self
                .handoff
                .hand_on(&self.exchange(limits, Some(node), &[])),
        }
    }

    fn exchange(&self, limits: &Limits, ended: Option<u32>, ready: &[u32]) -> Vec<u32> {
        limits.exchange(ended, ready, |node| self.visitor.queued(NodeId(node)))
    }

    /// Lets `node` wait without its permit, and then in the queue for a new one.
    async fn again(self: &Arc<Self>, node: u32, wait: Duration) -> Turn {
        if let Some(limits) = &self.limits
            && self.handoff.push(&self.exchange(limits, Some(node), &[]))
        {
            self.spawn(None);
        }
        self.visitor.pause(NodeId(node), wait).await;
        let begin = match &self.limits {
            None => vec![node],
            Some(limits) => self.exchange(limits, None, &[node]),
        };
        match begin.first() {
            // Nobody else can begin by the offer of this one.
            Some(_) => Turn::of(node),
            None => self.handoff.next(),
        }
    }
}

/// A task that visits nodes. It is never aborted, so one that is dropped before its end was dropped by its runtime.
struct Driver<V: Visitor> {
    walk: Arc<Walk<V>>,
    ended: bool,
}

impl<V: Visitor> Driver<V> {
    async fn drive(mut self, carried: Option<u32>) {
        self.walk.drive(carried).await;
        self.ended = true;
    }
}

impl<V: Visitor> Drop for Driver<V> {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            self.walk.visitor.gone();
        }
    }
}

/// A node whose visit ends by a panic or with its task: it counts as ended, so that no walk waits for it.
struct Lost<'a, V: Visitor> {
    walk: &'a Arc<Walk<V>>,
    node: u32,
}

impl<V: Visitor> Drop for Lost<'_, V> {
    fn drop(&mut self) {
        let turn = self.walk.halt(self.node);
        if turn.over {
            self.walk.over.notify_waiters();
        }
        if turn.relief {
            self.walk.spawn(None);
        }
        if turn.node.is_some() {
            self.walk.spawn(turn.node);
        }
    }
}

/// Lets the other tasks of this thread have their turn, where other threads find this one.
async fn requeued() {
    let mut woken = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A driver visits so many nodes that end at once before it gives way to other tasks.
const HOPS_PER_TURN: u32 = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::core::lock;
    use crate::wiring::Csr;

    /// Visits that take as many milliseconds as the number of the node, and say when they begin.
    struct Script {
        behind: Csr<NodeId>,
        /// How often a node asks for another turn, each time 100 ms later.
        again: HashMap<u32, u32>,
        panics: Option<u32>,
        turns: Mutex<Vec<(u32, u128)>>,
        running: AtomicU32,
        most: AtomicU32,
        begun: Instant,
    }

    impl Visitor for Script {
        fn behind(&self, node: NodeId) -> &[NodeId] {
            self.behind.of(node)
        }

        async fn visit(&self, NodeId(node): NodeId) -> Flow {
            let turn = {
                let mut turns = lock(&self.turns);
                turns.push((node, self.begun.elapsed().as_millis()));
                turns.iter().filter(|(other, _)| *other == node).count() as u32
            };
            assert_ne!(self.panics, Some(node), "as told");
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            sleep(Duration::from_millis(node.into())).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            match self.again.get(&node) {
                Some(times) if turn <= *times => Flow::Again(Duration::from_millis(100)),
                _ => Flow::Release,
            }
        }
    }

    fn script(nodes: usize, edges: &[(u32, u32)]) -> Script {
        let edges: Vec<_> = edges
            .iter()
            .map(|(a, b)| (NodeId(*a), NodeId(*b)))
            .collect();
        Script {
            behind: Csr::new(nodes, &edges),
            again: HashMap::new(),
            panics: None,
            turns: Mutex::default(),
            running: AtomicU32::new(0),
            most: AtomicU32::new(0),
            begun: Instant::now(),
        }
    }

    fn way(script: &Script) -> Way {
        Way::new(script, script.behind.len())
    }

    async fn walk(script: Script, way: Way) -> Arc<Walk<Script>> {
        let walk = Walk::new(script, way);
        walk.begin();
        walk.done().await;
        walk
    }

    fn turns(walk: &Walk<Script>) -> Vec<(u32, u128)> {
        lock(&walk.visitor.turns).clone()
    }

    fn one_at_a_time(nodes: usize, ranks: Ranks) -> Option<Limits> {
        Limits::new(vec![0; nodes].into(), &[Some(1)], None, ranks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_begins_when_its_own_last_dependency_ends() {
        let script = script(5, &[(1, 3), (2, 3), (1, 4)]);
        let way = way(&script);
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(0, 0), (1, 0), (2, 0), (4, 1), (3, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_waits_for_another_turn_holds_no_permit() {
        let mut script = script(3, &[]);
        script.again = HashMap::from([(1, 2)]);
        let way = way(&script).limited(one_at_a_time(3, Ranks::default()));
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(0, 0), (1, 0), (2, 1), (1, 101), (1, 202)]);
        assert_eq!(walk.visitor.most.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn another_turn_waits_for_a_permit_like_the_first() {
        let mut script = script(151, &[(0, 150)]);
        script.again = HashMap::from([(1, 1)]);
        let mut way = way(&script).limited(one_at_a_time(151, Ranks::default()));
        (2..150).for_each(|node| way.defer(NodeId(node)));
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(0, 0), (1, 0), (150, 1), (1, 151)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_free_node_gets_the_permit() {
        let ranks = Ranks::new([0, 5, 1, 9, 9]);
        let script = script(5, &[(1, 4)]);
        let way = way(&script)
            .ranked(ranks.clone())
            .limited(one_at_a_time(5, ranks));
        let walk = walk(script, way).await;
        let order: Vec<_> = turns(&walk).iter().map(|(node, _)| *node).collect();
        assert_eq!(order, [3, 1, 4, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deferred_node_runs_when_activated_even_after_the_end_and_only_once() {
        let script = script(4, &[(0, 3), (2, 3)]);
        let mut way = way(&script);
        way.defer(NodeId(2));
        way.defer(NodeId(3));
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(0, 0), (1, 0)]);
        for node in [3, 3, 2, 2] {
            walk.activate(NodeId(node));
        }
        walk.done().await;
        assert_eq!(turns(&walk)[2..], [(2, 1), (3, 3)]);
        walk.activate(NodeId(2));
        walk.done().await;
        assert_eq!(turns(&walk).len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_part_only_the_nodes_within_are_visited() {
        let script = script(5, &[(0, 1), (1, 3), (2, 3), (1, 4), (0, 3)]);
        let way = Way::among(&script, 5, |node| [1, 3].contains(&node.0));
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(1, 0), (3, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_of_nothing_is_over() {
        let script = script(0, &[]);
        let way = way(&script);
        walk(script, way).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_visit_that_panics_ends_like_one_that_releases_nobody() {
        let mut script = script(4, &[(1, 2)]);
        script.panics = Some(1);
        let way = way(&script).limited(one_at_a_time(4, Ranks::default()));
        let walk = walk(script, way).await;
        assert_eq!(turns(&walk), [(0, 0), (1, 0), (3, 0)]);
    }
}
