//! The stop, after a shutdown and after a failed start alike: hooks in reverse order of dependency, in parallel.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, debug, info_span, warn};

use crate::core::{Hook, Phase, lock};
use crate::error::{Cause, NodeError};
use crate::event::Event;
use crate::exec::{Flow, Visitor, Walk, Way, wind_down};
use crate::guard::{Guarded, drop_quietly, log_quietly};
use crate::plan::{Node, NodeId};
use crate::report::StopReport;
use crate::run::Run;

/// Stops everything that has started, within `limit` from now. Goes on when the returned future is dropped.
pub(crate) async fn spawn(run: Arc<Run>, limit: Duration) -> StopReport {
    let begun = Instant::now();
    let runtime = run.runtime.clone();
    let task = runtime.spawn(stop(run, limit).instrument(info_span!("init_graph_stop")));
    task.await.unwrap_or_else(|_| {
        // The stop itself does not panic, so its runtime was shut down.
        warn!("the runtime was shut down during the stop");
        let abandoned = vec!["(everything: the runtime was shut down)".into()];
        StopReport {
            stopped: 0,
            failures: Vec::new(),
            abandoned,
            took: begun.elapsed(),
        }
    })
}

/// As [`spawn`], with nobody to wait for it.
pub(crate) fn spawn_detached(run: Arc<Run>, limit: Duration) {
    let runtime = run.runtime.clone();
    runtime.spawn(stop(run, limit).instrument(info_span!("init_graph_stop")));
}

async fn stop(run: Arc<Run>, limit: Duration) -> StopReport {
    let unfinished = wind_down(&run, limit).await;
    let begun = Instant::now();
    let deadline = after(begun, limit);
    let stopper = Stopper {
        states: run.steps.iter().map(|_| AtomicU8::new(WAITING)).collect(),
        stopped: AtomicUsize::new(0),
        failures: Mutex::default(),
        deadline,
        limit,
        run: Arc::clone(&run),
    };
    let way = Way::new(&stopper, run.steps.len());
    let walk = Walk::new(stopper, way);
    walk.begin();
    // Every hook ends by the deadline on its own; only one that blocks its thread does not.
    drop(timeout_at(after(deadline, BLOCKED_GRACE), walk.done()).await);
    let stopper = &walk.visitor;
    // Empty when all went well; asked in any case, so that nothing that was not stopped is ever called clean.
    let mut abandoned = stopper.abandoned();
    abandoned.splice(..0, unfinished);
    let failures = std::mem::take(&mut *lock(&stopper.failures));
    let took = begun.elapsed();
    run.core.observers.emit(&Event::Finished { took });
    for name in &abandoned {
        warn!(node = %name, "stop hook blocks its thread; abandoned");
    }
    StopReport {
        stopped: stopper.stopped.load(Ordering::Relaxed),
        failures,
        abandoned,
        took,
    }
}

struct Stopper {
    run: Arc<Run>,
    states: Box<[AtomicU8]>,
    stopped: AtomicUsize,
    failures: Mutex<Vec<NodeError>>,
    deadline: Instant,
    /// What `deadline` came from, for the text of an error.
    limit: Duration,
}

impl Visitor for Stopper {
    fn behind(&self, node: NodeId) -> &[NodeId] {
        self.run.core.plan.dependencies(node)
    }

    async fn visit(&self, node: NodeId) -> Flow {
        let core = &self.run.core;
        let node = core.plan.node(node);
        // What never started is passed through, so that the order holds across it.
        if core.phase(node.id) == Phase::Ready || core.has_hooks(node.id) {
            self.states[node.id.index()].store(STOPPING, Ordering::Relaxed);
            core.observers.emit(&Event::Stopping { node });
            core.cancel_token(node.id);
            let span = info_span!("component_stop", name = node.name(), stage = node.stage());
            self.stop(node).instrument(span).await;
            self.stopped.fetch_add(1, Ordering::Relaxed);
        } else {
            core.close_hooks_of(node.id);
        }
        self.states[node.id.index()].store(STOPPED, Ordering::Relaxed);
        Flow::Release
    }
}

impl Stopper {
    async fn stop(&self, node: &Node) {
        let step = &self.run.steps[node.id.index()];
        let begun = Instant::now();
        let limit = step
            .options()
            .stop_timeout
            .unwrap_or(self.limit)
            .min(self.limit);
        let deadline = after(begun, limit).min(self.deadline);
        let mut failures = Vec::new();
        while let Some(hook) = self.run.core.pop_hook(node.id) {
            if let Err(cause) = run_hook(hook, deadline, limit).await {
                let took = begun.elapsed();
                log_quietly(|| {
                    warn!(
                        node = node.name(),
                        ?took,
                        error = cause.as_error(),
                        "stop hook failed"
                    );
                });
                failures.push(NodeError {
                    node: node.clone(),
                    took,
                    attempts: 0,
                    cause: Arc::new(cause),
                });
            }
        }
        drop_quietly(self.run.replace_value(node.id, None));
        self.report(node, begun.elapsed(), failures);
    }

    fn report(&self, node: &Node, took: Duration, failures: Vec<NodeError>) {
        let observers = &self.run.core.observers;
        match failures.first() {
            None => {
                debug!(node = node.name(), ?took, "stopped");
                observers.emit(&Event::Stopped { node, took });
            }
            Some(first) => observers.emit(&Event::StopFailed {
                node,
                took,
                error: first.cause.as_error(),
            }),
        }
        lock(&self.failures).extend(failures);
    }

    fn abandoned(&self) -> Vec<std::borrow::Cow<'static, str>> {
        let core = &self.run.core;
        let open = |node: &&Node| {
            let state = self.states[node.id.index()].load(Ordering::Relaxed);
            state == STOPPING
                || state == WAITING
                    && (core.phase(node.id) == Phase::Ready || core.has_hooks(node.id))
        };
        core.plan
            .nodes()
            .iter()
            .filter(open)
            .map(|node| node.name.clone())
            .collect()
    }
}

/// Runs one hook until `deadline`. Past the deadline it is still polled once, so that a hook that need not wait ends.
async fn run_hook(hook: Hook, deadline: Instant, limit: Duration) -> Result<(), Cause> {
    match timeout_at(deadline, Guarded::new(hook)).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Cause::Failed(error)),
        Ok(Err(panic)) => Err(Cause::Panicked(panic)),
        // Cancellation rule: a hook that outlives its time is dropped at its current await, and the next one begins.
        Err(_) => Err(Cause::TimedOut(limit)),
    }
}

/// A limit too long to count is as good as a year.
fn after(begin: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    begin.checked_add(limit).unwrap_or_else(|| begin + YEAR)
}

const WAITING: u8 = 0;
const STOPPING: u8 = 1;
const STOPPED: u8 = 2;

/// How much longer than its limit a stop waits for hooks that block their thread.
const BLOCKED_GRACE: Duration = Duration::from_secs(1);
