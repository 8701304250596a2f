//! How a component starts on demand: once, by whoever asks first, and never by a wait that would not end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, MutexGuard};

use super::LazyError;
use super::waits::Waits;
use crate::core::{Phase, lock};
use crate::exec::{self, Starter, Walk};
use crate::plan::NodeId;
use crate::run::Run;

/// Everything that decides about lazy starts, under one lock.
#[derive(Debug, Default)]
pub(crate) struct Lazies {
    /// Nodes that start on demand and were asked for.
    asked: HashSet<NodeId>,
    waits: Waits,
    /// Whose parameter was used to get whom.
    used: HashSet<(NodeId, NodeId)>,
    /// In which order those that a `Lazy` connects became ready, the latest last.
    ready: HashMap<NodeId, u64>,
    readies: u64,
    /// The part of the graph that is being restarted.
    pub(crate) restarting: Option<Restarting>,
}

/// A part of the graph that is being restarted.
#[derive(Debug)]
pub(crate) struct Restarting {
    pub(crate) nodes: HashSet<NodeId>,
    /// Whether they still stop, or stop again, so that their values count no more.
    pub(crate) stops: bool,
}

impl Lazies {
    /// Whether `node` has nothing to do until somebody asks for it.
    pub(crate) fn is_idle(&self, run: &Run, node: NodeId) -> bool {
        run.core.plan.node(node).is_lazy() && !self.asked.contains(&node)
    }

    /// Notes that `node` became ready; only for one that a `Lazy` connects.
    pub(crate) fn note_ready(&mut self, node: NodeId) {
        self.readies += 1;
        self.ready.insert(node, self.readies);
    }

    /// Which stops before which because of a `Lazy` that was used: the second stops after the first.
    pub(crate) fn stop_order(&self) -> impl Iterator<Item = (NodeId, NodeId)> {
        self.used.iter().map(|(owner, target)| {
            let at = |node| self.ready.get(node).copied().unwrap_or(u64::MAX);
            if at(target) < at(owner) {
                (*owner, *target)
            } else {
                (*target, *owner)
            }
        })
    }

    pub(crate) fn set_stops(&mut self, stops: bool) {
        if let Some(restarting) = &mut self.restarting {
            restarting.stops = stops;
        }
    }

    /// Whether `node` belongs to the part that is being restarted.
    pub(crate) fn is_restarting(&self, node: NodeId) -> bool {
        let restarting = self.restarting.as_ref();
        restarting.is_some_and(|restarting| restarting.nodes.contains(&node))
    }

    fn is_stopping(&self, node: NodeId) -> bool {
        let restarting = self.restarting.as_ref();
        restarting.is_some_and(|restarting| restarting.stops && restarting.nodes.contains(&node))
    }

    /// Marks `target` and everything below it that starts on demand as asked for, and returns what was not yet.
    fn ask(&mut self, run: &Run, target: NodeId) -> Vec<NodeId> {
        let mut fresh = Vec::new();
        let mut open = vec![target];
        while let Some(node) = open.pop() {
            if self.is_idle(run, node) {
                self.asked.insert(node);
                fresh.push(node);
                open.extend(run.core.plan.dependencies(node));
            }
        }
        fresh
    }
}

/// Waits until `target` is ready, and starts it when nobody has.
pub(super) async fn ready(run: &Arc<Run>, owner: NodeId, target: NodeId) -> Result<(), LazyError> {
    if run.life.is_closed() {
        return Err(LazyError::Stopped);
    }
    if let Some(answer) = answer(run, target) {
        return answer.inspect(|()| note_use(run, owner, target));
    }
    let asked = run.elapsed();
    let waiting = Waiting::enter(run, owner, target)?;
    loop {
        let settled = run.core.settled(target);
        if let Some(answer) = answer(run, target) {
            if waiting.registered.is_some() {
                // The first of several counts, so that restarts without end add nothing.
                lock(&run.waited_for)
                    .entry((owner, target))
                    .or_insert(asked);
            }
            return answer.inspect(|()| note_use(run, owner, target));
        }
        tokio::select! {
            biased;
            () = run.life.closed() => return Err(LazyError::Stopped),
            () = settled => {}
        }
    }
}

/// Notes who used what, for the order of the stop.
pub(super) fn note_use(run: &Run, owner: NodeId, target: NodeId) {
    if owner != target {
        lazies(run).used.insert((owner, target));
    }
}

/// How it is with `target`; `None` while that has to be waited for.
fn answer(run: &Run, target: NodeId) -> Option<Result<(), LazyError>> {
    // Under one lock with the phase, since a restart may begin or go on in between.
    let lazies = lazies(run);
    if lazies.is_stopping(target) {
        return None;
    }
    match run.core.phase(target) {
        Phase::Ready => Some(Ok(())),
        Phase::Failed | Phase::Skipped => Some(Err(LazyError::Failed(run.failure(target)))),
        Phase::Cancelled | Phase::Stopping | Phase::Stopped => Some(Err(LazyError::Stopped)),
        Phase::Pending | Phase::Queued | Phase::Running | Phase::Backoff => None,
    }
}

/// A lazy wait; leaves on drop, so that a wait that was cancelled closes no circle.
struct Waiting<'a> {
    run: &'a Run,
    /// Of an owner whose initialiser still runs.
    registered: Option<Registered>,
}

struct Registered {
    owner: NodeId,
    ticket: u64,
    /// The walk that the owner has its permit of. Others may have that meanwhile: they may be what the owner waits for,
    /// and with a full class neither would go on.
    walk: Option<Arc<Walk<Starter>>>,
}

impl<'a> Waiting<'a> {
    fn enter(run: &'a Arc<Run>, owner: NodeId, target: NodeId) -> Result<Self, LazyError> {
        let mut lazies = lazies(run);
        // Once the owner has come to an end nothing of the start waits for it any more.
        let registered = if run.core.phase(owner).is_settled() {
            None
        } else {
            Some(Registered::enter(run, &mut lazies, owner, target)?)
        };
        let lends = lazies.waits.count(owner) == 1;
        let fresh = lazies.ask(run, target);
        let late = late(run, &lazies, &fresh);
        drop(lazies);
        let waiting = Self { run, registered };
        if let Some(registered) = &waiting.registered
            && let Some(walk) = &registered.walk
            && lends
        {
            walk.lend(owner);
        }
        if late.is_empty() {
            exec::activate(run, &fresh);
        } else {
            let run_later = Arc::clone(run);
            run.runtime.spawn(begin_behind(run_later, fresh, late));
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(registered) = &self.registered else {
            return;
        };
        let mut lazies = lazies(self.run);
        lazies.waits.leave(registered.ticket);
        let last = lazies.waits.count(registered.owner) == 0;
        drop(lazies);
        if let Some(walk) = &registered.walk
            && last
        {
            walk.take_back(registered.owner);
        }
    }
}

impl Registered {
    fn enter(
        run: &Run,
        lazies: &mut Lazies,
        owner: NodeId,
        target: NodeId,
    ) -> Result<Self, LazyError> {
        let core = &run.core;
        let behind = |node| {
            let all = core.plan.dependencies(node).iter().copied();
            all.filter(|other| !core.phase(*other).is_settled())
        };
        let entered = lazies.waits.enter(owner, target, behind);
        let ticket = entered.map_err(|circle| LazyError::Circle(names(run, &circle)))?;
        let restarts = lazies.restarting.as_ref();
        let walk = if restarts.is_some_and(|part| part.nodes.contains(&owner)) {
            run.life.restarts.walk()
        } else {
            run.walk()
        };
        Ok(Self {
            owner,
            ticket,
            walk,
        })
    }
}

/// What `fresh` depends on that is being restarted: the walk of the start has been over it and waits for it no more.
fn late(run: &Run, lazies: &Lazies, fresh: &[NodeId]) -> Vec<NodeId> {
    let Some(restarting) = &lazies.restarting else {
        return Vec::new();
    };
    let all = fresh
        .iter()
        .flat_map(|node| run.core.plan.dependencies(*node));
    all.filter(|node| restarting.nodes.contains(*node))
        .copied()
        .collect()
}

/// Begins `fresh` when the restart has settled `late`.
async fn begin_behind(run: Arc<Run>, fresh: Vec<NodeId>, late: Vec<NodeId>) {
    for node in late {
        loop {
            let settled = run.core.settled(node);
            // What stops is settled as well: both are asked under one lock, so that no step of the restart is in between.
            let begins = {
                let lazies = lazies(&run);
                run.core.phase(node).is_settled() && !lazies.is_stopping(node)
            };
            if begins {
                break;
            }
            tokio::select! {
                () = run.life.closed() => return,
                () = settled => {}
            }
        }
    }
    exec::activate(&run, &fresh);
}

fn names(run: &Run, circle: &[NodeId]) -> Vec<String> {
    let name = |node: &NodeId| run.core.plan.node(*node).name().to_owned();
    circle.iter().map(name).collect()
}

fn lazies(run: &Run) -> MutexGuard<'_, Lazies> {
    lock(&run.life.lazies)
}
