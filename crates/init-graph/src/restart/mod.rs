//! Stops a part of a running graph and starts it again: one component with everything that depends on it.

mod again;
mod budget;
mod error;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, info, info_span, warn};

use self::budget::Budget;
pub use self::error::{RestartError, RestartReport};
use crate::core::{Phase, lock};
use crate::event::Event;
use crate::exec::{Starter, Walk};
use crate::failure::{Failure, Why};
use crate::guard::log_quietly;
use crate::lazy::{Lazies, Restarting};
use crate::param::Kind;
use crate::plan::{Node, NodeId};
use crate::policy::Policy;
use crate::report::StopReport;
use crate::run::Run;
use crate::stop;

pub(crate) struct Restarts {
    /// Held by the one restart at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    budget: Mutex<Budget>,
    /// Of the restart that is on.
    walk: Mutex<Weak<Walk<Starter>>>,
}

impl Restarts {
    pub(crate) fn new(budget: (u32, Duration)) -> Self {
        Self {
            gate: tokio::sync::Mutex::new(()),
            budget: Mutex::new(Budget::new(budget)),
            walk: Mutex::default(),
        }
    }

    fn note_walk(&self, walk: &Arc<Walk<Starter>>) {
        *lock(&self.walk) = Arc::downgrade(walk);
    }

    pub(crate) fn walk(&self) -> Option<Arc<Walk<Starter>>> {
        lock(&self.walk).upgrade()
    }
}

/// Restarts `target`. Goes on when the returned future is dropped.
pub(crate) async fn restart(run: &Arc<Run>, target: NodeId) -> Result<RestartReport, RestartError> {
    let name = run.core.plan.node(target).name();
    let span = info_span!("init_graph_restart", name);
    let task = run
        .runtime
        .spawn(one(Arc::clone(run), target).instrument(span));
    // It does not panic, so its runtime was shut down.
    task.await.unwrap_or(Err(RestartError::Stopping))
}

async fn one(run: Arc<Run>, target: NodeId) -> Result<RestartReport, RestartError> {
    let _gate = tokio::select! {
        biased;
        () = run.life.closed() => return Err(RestartError::Stopping),
        gate = run.life.restarts.gate.lock() => gate,
    };
    let begun = Instant::now();
    let part = choose(&run, target)?;
    let nodes: Vec<_> = part.iter().map(|id| run.core.plan.node(*id)).collect();
    run.core
        .observers
        .emit(&Event::Restarting { nodes: &nodes });
    let release = Release(&run);
    let stop = stop::stop_some(&run, &part).await;
    let ended = start_again(&run, target, &part).await;
    drop(release);
    let took = begun.elapsed();
    match ended {
        Ok(failures) => {
            info!(nodes = nodes.len(), ?took, "restarted");
            run.core.observers.emit(&Event::Restarted { took });
            Ok(report(&nodes, failures, stop, took))
        }
        Err(error) => {
            warn!(%error, ?took, "restart failed");
            let failed = Event::RestartFailed {
                took,
                error: &error,
            };
            run.core.observers.emit(&failed);
            Err(error)
        }
    }
}

fn report(
    nodes: &[&Node],
    failures: Vec<Failure>,
    stop: StopReport,
    took: Duration,
) -> RestartReport {
    RestartReport {
        nodes: nodes.iter().map(|node| node.name().to_owned()).collect(),
        failures,
        stop,
        took,
    }
}

// === which ===

/// Decides what is restarted with `target`, in start order, and lets nobody use it meanwhile.
fn choose(run: &Run, target: NodeId) -> Result<Vec<NodeId>, RestartError> {
    let node = run.core.plan.node(target);
    let name = node.name().to_owned();
    if node.is_value() {
        return Err(RestartError::Value { name });
    }
    // From here on nothing begins on demand until the part is marked.
    let mut lazies = lock(&run.life.lazies);
    if run.life.is_closed() {
        return Err(RestartError::Stopping);
    }
    if lazies.is_idle(run, target) {
        return Err(RestartError::NotStarted { name });
    }
    let mut part = HashSet::from([target]);
    let mut open = vec![target];
    let mut starting = HashSet::new();
    while let Some(node) = open.pop() {
        if !run.core.phase(node).is_settled() {
            starting.insert(node);
        }
        let dependents = run.dependents.of(node).iter();
        for dependent in dependents.filter(|id| !lazies.is_idle(run, **id)) {
            if !follows_live(run, *dependent, node) {
                if part.insert(*dependent) {
                    open.push(*dependent);
                }
            } else if !run.core.phase(*dependent).is_settled() {
                // It may be about to take the value.
                starting.insert(*dependent);
            }
        }
    }
    if !starting.is_empty() {
        let names = in_order(starting)
            .iter()
            .map(|id| name_of(run, *id))
            .collect();
        return Err(RestartError::Starting { names });
    }
    spend(run)?;
    run.life.keep_report(run);
    lazies.restarting = Some(Restarting {
        nodes: part.clone(),
        stops: true,
    });
    Ok(in_order(part))
}

/// Whether `dependent` takes `provider` as `Live` and in no other way.
fn follows_live(run: &Run, dependent: NodeId, provider: NodeId) -> bool {
    let wires = run.wires.of(dependent).iter();
    let mut kinds = wires
        .filter(|wire| wire.provider == Some(provider) && wire.kind != Kind::Lazy)
        .map(|wire| wire.kind)
        .peekable();
    // None at all is an order by handle.
    kinds.peek().is_some() && kinds.all(|kind| kind == Kind::Live)
}

fn spend(run: &Run) -> Result<(), RestartError> {
    let mut budget = lock(&run.life.restarts.budget);
    budget
        .take(Instant::now())
        .map_err(|retry_in| RestartError::BudgetSpent {
            restarts: budget.restarts(),
            window: budget.window(),
            retry_in,
        })
}

// === again ===

/// Starts `part`, which has stopped, and returns what failed without harm.
async fn start_again(
    run: &Arc<Run>,
    target: NodeId,
    part: &[NodeId],
) -> Result<Vec<Failure>, RestartError> {
    {
        let mut lazies = lock(&run.life.lazies);
        if run.life.is_closed() {
            return Err(RestartError::Stopping);
        }
        part.iter().for_each(|id| run.core.renew(*id));
        lazies.set_stops(false);
    }
    again::start(run, part).await;
    if run.life.is_closed() {
        return Err(RestartError::Stopping);
    }
    let failed = |id: &&NodeId| run.core.phase(**id) == Phase::Failed;
    let failures: Vec<_> = part
        .iter()
        .filter(failed)
        .map(|id| run.failure(*id))
        .collect();
    let counts = |id: &&NodeId| {
        let node = run.core.plan.node(**id);
        !node.is_optional() && !node.is_lazy()
    };
    let harm = run.settings.policy != Policy::KeepGoing
        && part
            .iter()
            .filter(counts)
            .any(|id| !run.core.is_ready(*id) && !by_condition(run, *id));
    if harm {
        roll_back(run, part).await;
    } else {
        // Of what is there again, also when the target is not.
        part.iter().for_each(|id| run.life.lives.refresh(run, *id));
        if run.core.is_ready(target) || by_condition(run, target) {
            return Ok(failures);
        }
    }
    let gone = part.iter().filter(|id| !run.core.is_ready(**id));
    let gone = gone.map(|id| name_of(run, *id)).collect();
    let failures = if failures.is_empty() {
        vec![run.failure(target)]
    } else {
        failures
    };
    Err(RestartError::Failed { failures, gone })
}

/// Whether `id` is not there because it is not wanted, and not because of a failure.
fn by_condition(run: &Run, id: NodeId) -> bool {
    run.core.phase(id) == Phase::Skipped && run.failure(id).is_condition()
}

/// Stops what of `part` has started, so that no half of it stays, and with it what was asked for meanwhile and stands on
/// it.
async fn roll_back(run: &Arc<Run>, part: &[NodeId]) {
    let all = {
        let mut lazies = lock(&run.life.lazies);
        let nodes = with_dependents(run, &lazies, part);
        lazies.restarting = Some(Restarting {
            nodes: nodes.clone(),
            stops: true,
        });
        in_order(nodes)
    };
    if let Some(walk) = run.walk() {
        walk.visitor.note_fallen();
    }
    let joined = all.iter().filter(|id| part.binary_search(id).is_err());
    // Bounded, since one of them may itself wait until the restart is over; then it is left as it is.
    let ended = async {
        for id in joined.clone() {
            settled(run, *id).await;
        }
    };
    drop(timeout(run.settings.stop_timeout, ended).await);
    let starts = |id: &NodeId| !run.core.phase(*id).is_settled();
    let all: Vec<_> = all
        .iter()
        .copied()
        .filter(|id| part.binary_search(id).is_ok() || !starts(id))
        .collect();
    let root = all.iter().find(|id| run.core.phase(**id) == Phase::Failed);
    let root = root.map(|id| run.failure(*id));
    let report = stop::stop_some(run, &all).await;
    if !report.is_clean() {
        log_quietly(|| warn!(%report, "the rollback of a restart was not clean"));
    }
    for id in all
        .iter()
        .filter(|id| run.core.phase(**id) != Phase::Failed)
    {
        let why = root.clone().map_or(Why::GivenUp, Why::Behind);
        let name = run.core.plan.node(*id).name.clone();
        run.set_failure(*id, Failure::new(name, why));
        run.core.set_phase(*id, Phase::Skipped);
    }
}

/// `part` and all that stands on it and is not idle, which may have become more since the part was chosen.
fn with_dependents(run: &Run, lazies: &Lazies, part: &[NodeId]) -> HashSet<NodeId> {
    let mut all: HashSet<_> = part.iter().copied().collect();
    let mut open = part.to_vec();
    while let Some(node) = open.pop() {
        let dependents = run.dependents.of(node).iter().copied();
        for dependent in dependents.filter(|id| !lazies.is_idle(run, *id)) {
            if !follows_live(run, dependent, node) && all.insert(dependent) {
                open.push(dependent);
            }
        }
    }
    all
}

/// Waits until the start of `id` has ended or the graph closes.
async fn settled(run: &Run, id: NodeId) {
    loop {
        let settled = run.core.settled(id);
        if run.core.phase(id).is_settled() {
            return;
        }
        tokio::select! {
            biased;
            () = run.life.closed() => return,
            () = settled => {}
        }
    }
}

/// Lets everybody use the part again when it is dropped, however the restart ended, and tells those who waited for that.
struct Release<'a>(&'a Run);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let over = lock(&self.0.life.lazies).restarting.take();
        for id in over.into_iter().flat_map(|over| over.nodes) {
            if let Some(extra) = self.0.core.known(id) {
                extra.settled.notify_waiters();
            }
        }
    }
}

fn in_order(nodes: HashSet<NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<_> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes
}

fn name_of(run: &Run, id: NodeId) -> String {
    run.core.plan.node(id).name().to_owned()
}
