//! The stop, after a shutdown, after a failed start and before a restart alike: hooks in reverse order, in parallel.

mod cleanup;
mod hooks;
mod order;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{Instrument as _, info_span, warn};

pub(crate) use self::cleanup::{Cleanups, clean_up, undo_attempt};
use self::hooks::{after, is_up};
use self::order::{Order, order};
use crate::core::{Phase, lock};
use crate::error::NodeError;
use crate::event::Event;
use crate::exec::{self, Flow, Visitor, Walk, Way};
use crate::plan::NodeId;
use crate::report::StopReport;
use crate::run::Run;
use crate::wiring::Csr;

/// Stops everything that has started, within `limit` from when nothing starts any more. Goes on when the returned future
/// is dropped.
pub(crate) async fn spawn(run: Arc<Run>, limit: Duration) -> StopReport {
    let begun = Instant::now();
    let (runtime, unfinished) = (run.runtime.clone(), Arc::clone(&run));
    let task = runtime.spawn(stop_all(run, limit).instrument(info_span!("init_graph_stop")));
    task.await.unwrap_or_else(|_| {
        // The stop itself does not panic, so its runtime was shut down.
        warn!("the runtime was shut down during the stop");
        unfinished.let_go();
        let abandoned = vec!["(everything: the runtime was shut down)".into()];
        StopReport {
            stopped: 0,
            failures: Vec::new(),
            abandoned,
            took: begun.elapsed(),
            times: Vec::new(),
        }
    })
}

/// As [`spawn`], with nobody to wait for it.
pub(crate) fn spawn_detached(run: Arc<Run>, limit: Duration) {
    let runtime = run.runtime.clone();
    runtime.spawn(stop_all(run, limit).instrument(info_span!("init_graph_stop")));
}

async fn stop_all(run: Arc<Run>, limit: Duration) -> StopReport {
    let begun = Instant::now();
    let left_behind = end_starts(&run, limit).await;
    let deadline = after(Instant::now(), limit);
    let used: Vec<_> = lock(&run.life.lazies).stop_order().collect();
    let order = order(run.core.plan.rows(), None, used.into_iter());
    let mut report = stop_part(&run, order, deadline, limit, false).await;
    report.abandoned.splice(..0, left_behind);
    let (cleaned, failures) = run.life.cleanups.take();
    report.stopped += cleaned;
    report.failures.extend(failures);
    report.took = begun.elapsed();
    let took = report.took;
    // Tokens that somebody asks for from now on are cancelled from the first.
    run.core.given_up.cancel();
    run.core.observers.emit(&Event::Finished { took });
    report
}

/// Waits until nothing starts any more, and returns the names of what blocks its thread and is left behind.
async fn end_starts(run: &Run, limit: Duration) -> Vec<Cow<'static, str>> {
    let core = &run.core;
    run.life.close();
    // Before the restart is waited for, so that nothing begins in the background meanwhile.
    if let Some(walk) = run.walk() {
        walk.visitor.closing.close();
    }
    for node in core.plan.nodes() {
        if !core.phase(node.id).is_settled() {
            core.cancel_token(node.id);
        }
    }
    // A restart ends by itself, since it sees that everything closes.
    let restart = after(Instant::now(), limit);
    drop(timeout_at(restart, run.life.restarts.gate.lock()).await);
    exec::wind_down(run, limit).await
}

/// Stops the part of the graph that `nodes` lists, in start order.
pub(crate) async fn stop_some(run: &Arc<Run>, nodes: &[NodeId]) -> StopReport {
    let begun = Instant::now();
    let limit = run.settings.stop_timeout;
    let used: Vec<_> = lock(&run.life.lazies).stop_order().collect();
    let order = order(run.core.plan.rows(), Some(nodes), used.into_iter());
    let mut report = stop_part(run, order, after(begun, limit), limit, true).await;
    report.took = begun.elapsed();
    report
}

/// `again` says that the nodes may start again afterwards: then what could not be stopped by then is never touched any
/// more.
async fn stop_part(
    run: &Arc<Run>,
    order: Order,
    deadline: Instant,
    limit: Duration,
    again: bool,
) -> StopReport {
    let stopper = Stopper {
        states: order.nodes.iter().map(|_| AtomicU8::new(WAITING)).collect(),
        nodes: order.nodes,
        edges: order.edges,
        stopped: AtomicUsize::new(0),
        failures: Mutex::default(),
        times: Mutex::default(),
        begun: Instant::now(),
        deadline,
        limit,
        run: Arc::clone(run),
    };
    let way = Way::new(&stopper, stopper.nodes.len());
    let walk = Walk::new(stopper, way);
    walk.begin();
    // Every hook ends by the deadline on its own; only one that blocks its thread does not.
    tokio::select! {
        biased;
        () = walk.done() => {}
        () = sleep_until(after(deadline, BLOCKED_GRACE)) => {}
        () = hurried(run) => {}
    }
    let stopper = &walk.visitor;
    // Empty when all went well; asked in any case, so that nothing that was not stopped is ever called clean.
    let abandoned = stopper.abandoned(again);
    let failures = std::mem::take(&mut *lock(&stopper.failures));
    let mut times = std::mem::take(&mut *lock(&stopper.times));
    times.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    StopReport {
        stopped: stopper.stopped.load(Ordering::Relaxed),
        failures,
        abandoned,
        took: Duration::ZERO,
        times,
    }
}

/// Ends when hooks that do not block their thread have ended because the stop is cut short.
async fn hurried(run: &Run) {
    run.life.hurry.cancelled().await;
    sleep(BLOCKED_GRACE).await;
}

struct Stopper {
    run: Arc<Run>,
    /// The walk knows nodes by their position in here.
    nodes: Box<[NodeId]>,
    /// To those that stop after it, by the same positions.
    edges: Csr<NodeId>,
    states: Box<[AtomicU8]>,
    stopped: AtomicUsize,
    failures: Mutex<Vec<NodeError>>,
    times: Mutex<Vec<(Cow<'static, str>, Duration)>>,
    begun: Instant,
    deadline: Instant,
    limit: Duration,
}

impl Visitor for Stopper {
    fn behind(&self, at: NodeId) -> &[NodeId] {
        self.edges.of(at)
    }

    async fn visit(&self, at: NodeId) -> Flow {
        let core = &self.run.core;
        let node = core.plan.node(self.nodes[at.index()]);
        let state = &self.states[at.index()];
        // A clean-up that began before this stop ends by a deadline of its own, which is not later: no tie with it.
        let blocked = after(self.deadline, BLOCKED_GRACE / 2);
        let cleaned_up = self.run.life.cleanups.finish(node.id, blocked).await;
        if !change(state, STOPPING) {
            return Flow::Halt;
        }
        if !cleaned_up {
            return Flow::Release;
        }
        // What never started is passed through, so that the order holds across it.
        if is_up(&self.run, node) {
            let ready = core.phase(node.id) == Phase::Ready;
            if ready {
                core.set_phase(node.id, Phase::Stopping);
            }
            let left = || state.load(Ordering::Acquire) == LEFT;
            let ended = hooks::stop(&self.run, node, self.deadline, self.limit, left).await;
            let Some(ended) = ended else {
                return Flow::Halt;
            };
            if ready {
                core.set_phase(node.id, Phase::Stopped);
            }
            if !ended.took.is_zero() && ended.hooks > 0 {
                lock(&self.times).push((node.name.clone(), ended.took));
            }
            lock(&self.failures).extend(ended.failures);
            self.stopped.fetch_add(1, Ordering::Relaxed);
        } else {
            // It may have left tasks behind without a hook: cut off as it began, say.
            core.cancel_token(node.id);
            core.close_hooks_of(node.id);
        }
        if change(state, STOPPED) {
            Flow::Release
        } else {
            Flow::Halt
        }
    }
}

/// Lets the stop of a node go on, unless it was left behind.
fn change(state: &AtomicU8, to: u8) -> bool {
    let open = |state| (state != LEFT).then_some(to);
    state
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, open)
        .is_ok()
}

impl Stopper {
    /// Those whose stop hooks could not be brought to an end, or that stand behind such; they are left to themselves when
    /// they may start `again`.
    fn abandoned(&self, again: bool) -> Vec<Cow<'static, str>> {
        let core = &self.run.core;
        let mut abandoned = Vec::new();
        for (id, state) in self.nodes.iter().zip(&self.states) {
            let node = core.plan.node(*id);
            let state = match again {
                true => state.swap(LEFT, Ordering::AcqRel),
                false => state.load(Ordering::Acquire),
            };
            match state {
                STOPPING => {
                    let took = self.begun.elapsed();
                    warn!(node = node.name(), "stop hook blocks its thread; abandoned");
                    core.observers.emit(&Event::Abandoned { node, took });
                }
                WAITING if is_up(&self.run, node) => {
                    let took = Duration::ZERO;
                    core.observers.emit(&Event::Abandoned { node, took });
                }
                _ => continue,
            }
            abandoned.push(node.name.clone());
        }
        abandoned
    }
}

const WAITING: u8 = 0;
const STOPPING: u8 = 1;
const STOPPED: u8 = 2;
/// Nothing of it is touched any more.
const LEFT: u8 = 3;

/// How much longer than its limit a stop waits for code that blocks its thread.
const BLOCKED_GRACE: Duration = Duration::from_secs(1);
