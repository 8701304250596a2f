//! The start: runs every initialiser as soon as its dependencies are settled, and decides how it all ended.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info, info_span, warn};

use crate::component::{Initialiser, Value};
use crate::context::Context;
use crate::core::{Core, Phase, lock};
use crate::error::{BoxError, Cause, GraphError, NodeError, StartError};
use crate::event::Event;
use crate::graph::Graph;
use crate::guard::Guarded;
use crate::param::{Fetch, Kind};
use crate::plan::{Node, NodeId};
use crate::run::{Run, Times};
use crate::running::Running;
use crate::walk::{Flow, Visitor, Walk};
use crate::{stop, wiring};

pub(crate) async fn start(graph: Graph) -> Result<Running, GraphError> {
    let begun = Instant::now();
    let runtime = Handle::try_current().map_err(|_| GraphError::NoRuntime)?;
    let Graph {
        components,
        observers,
        cancel_on,
        stop_timeout,
    } = graph;
    let wiring = match wiring::resolve(&components, stop_timeout) {
        Ok(wiring) => wiring,
        Err(errors) => {
            let error = GraphError::Wiring(errors);
            observers.emit(&Event::StartFailed {
                took: begun.elapsed(),
                error: &error,
            });
            return Err(error);
        }
    };
    let core = Arc::new(Core::new(wiring.plan.clone(), observers));
    let run = Arc::new(Run::new(core, components, wiring, begun, runtime.clone()));

    // A task of its own, so that a rollback goes on when the caller drops this future.
    let (caller, ended) = oneshot::channel();
    let span = info_span!("init_graph");
    runtime.spawn(supervise(run, cancel_on, stop_timeout, caller).instrument(span));
    match ended.await {
        Ok(Ok(handover)) => handover.take(),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(GraphError::NoRuntime),
    }
}

type Caller = oneshot::Sender<Result<Handover, GraphError>>;

/// A started graph on its way to the caller; when it never arrives, it is stopped.
struct Handover(Option<Running>);

impl Handover {
    fn take(mut self) -> Result<Running, GraphError> {
        self.0.take().ok_or(GraphError::NoRuntime)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            warn!("the start was dropped just as it succeeded; stopping again");
            running.shutdown_detached();
        }
    }
}

async fn supervise(
    run: Arc<Run>,
    cancel_on: Vec<CancellationToken>,
    stop_timeout: Duration,
    mut caller: Caller,
) {
    let core = Arc::clone(&run.core);
    core.observers.emit(&Event::Planned { plan: &core.plan });
    if cancel_on.iter().any(CancellationToken::is_cancelled) || caller.is_closed() {
        core.given_up.cancel();
    }
    let walk = Walk::new(
        Starter {
            run: Arc::clone(&run),
        },
        run.dependencies.reversed(),
    );
    walk.begin();
    tokio::select! {
        biased;
        () = walk.done() => {}
        () = core.given_up.cancelled() => {}
        () = any_cancelled(&cancel_on) => core.given_up.cancel(),
        // Cancellation rule: a dropped start gives up like a cancelled one.
        () = caller.closed() => core.given_up.cancel(),
    }
    if core.given_up.is_cancelled() {
        let error = give_up(&run, &walk, stop_timeout).await;
        if let Err(Err(error)) = caller.send(Err(error)) {
            warn!(%error, "the start was dropped; everything that had started was stopped");
        }
        return;
    }
    let took = run.elapsed();
    run.telemetry.start_took(took);
    core.observers.emit(&Event::Started { took });
    info!(nodes = core.plan.nodes().len(), ?took, "started");
    // When the caller is gone by now, the handover stops the graph.
    drop(caller.send(Ok(Handover(Some(Running::new(run, took, stop_timeout))))));
}

async fn any_cancelled(tokens: &[CancellationToken]) {
    let mut waits: Vec<_> = tokens
        .iter()
        .map(|token| Box::pin(token.cancelled()))
        .collect();
    poll_fn(|cx| {
        let mut any = std::task::Poll::Pending;
        for wait in &mut waits {
            if wait.as_mut().poll(cx).is_ready() {
                any = std::task::Poll::Ready(());
            }
        }
        any
    })
    .await;
}

/// Waits for what runs to be dropped, says why it was all for nothing and stops what has started.
async fn give_up(run: &Arc<Run>, walk: &Walk<Starter>, stop_timeout: Duration) -> GraphError {
    let core = &run.core;
    // Initialisers are dropped at their current await; only one that blocks its thread is late.
    drop(timeout(CANCEL_GRACE, walk.done()).await);
    for node in core.plan.nodes() {
        match core.phase(node.id) {
            Phase::Pending => {
                core.set_phase(node.id, Phase::Skipped);
                core.observers.emit(&Event::Skipped {
                    node,
                    because: "the start was given up",
                });
            }
            Phase::Running => warn!(
                node = node.name(),
                "initialiser blocks its thread; rolling back without it"
            ),
            _ => {}
        }
    }
    let failures = std::mem::take(&mut *lock(&run.failures));
    let mut error = if failures.is_empty() {
        GraphError::Cancelled { rollback: None }
    } else {
        GraphError::Failed(StartError::new(failures))
    };
    core.observers.emit(&Event::StartFailed {
        took: run.elapsed(),
        error: &error,
    });
    error.set_rollback(stop::spawn(Arc::clone(run), stop_timeout).await);
    error
}

struct Starter {
    run: Arc<Run>,
}

/// How one initialiser ended.
enum Ended {
    Ready(Value),
    Failed(Cause),
    Cancelled,
}

impl Visitor for Starter {
    async fn visit(&self, node: u32) -> Flow {
        let core = &self.run.core;
        let node = core.plan.node(NodeId(node));
        if core.given_up.is_cancelled() {
            return Flow::Halt;
        }
        let began = self.run.elapsed();
        if let Some(because) = self.fallen_away(node.id) {
            self.settle(node, began, Phase::Skipped);
            info!(node = node.name(), because, "skipped");
            core.observers.emit(&Event::Skipped {
                node,
                because: &because,
            });
            return Flow::Release;
        }
        core.set_phase(node.id, Phase::Running);
        core.observers.emit(&Event::Starting {
            node,
            attempt: FIRST_ATTEMPT,
        });
        let Some(init) = &self.run.steps[node.id.index()].init else {
            // It was there before the start began.
            self.settle(node, Duration::ZERO, Phase::Ready);
            core.observers.emit(&Event::Ready {
                node,
                took: Duration::ZERO,
            });
            return Flow::Release;
        };
        let span = info_span!("component", name = node.name(), stage = node.stage());
        let ended = self.initialise(node.id, init).instrument(span).await;
        self.finish(node, began, ended)
    }
}

impl Starter {
    async fn initialise(&self, id: NodeId, init: &Initialiser) -> Ended {
        let step = &self.run.steps[id.index()];
        let context = Context::new(Arc::clone(&self.run.core), id, FIRST_ATTEMPT);
        let values = step
            .needs
            .iter()
            .map(|wire| self.run.value(wire.provider?))
            .collect();
        let initialiser = Guarded::new(|| init(Fetch::new(values, context)));
        tokio::select! {
            biased;
            // Cancellation rule: a start that is given up drops an initialiser at its current await; what it
            // registered with `on_stop` until then runs in the rollback.
            () = self.run.core.given_up.cancelled() => Ended::Cancelled,
            ended = limited(step.timeout, initialiser) => ended,
        }
    }

    /// Why `id` cannot run, when a provider that it cannot do without has failed or was skipped.
    fn fallen_away(&self, id: NodeId) -> Option<String> {
        let core = &self.run.core;
        let hard = self.run.steps[id.index()]
            .needs
            .iter()
            .filter(|wire| wire.kind == Kind::Hard);
        hard.filter_map(|wire| wire.provider)
            .find_map(|provider| match core.phase(provider) {
                Phase::Failed => Some(format!("`{}` failed", core.plan.node(provider).name())),
                Phase::Skipped => {
                    Some(format!("`{}` was skipped", core.plan.node(provider).name()))
                }
                _ => None,
            })
    }

    fn finish(&self, node: &Node, began: Duration, ended: Ended) -> Flow {
        let (run, core) = (&self.run, &self.run.core);
        match ended {
            Ended::Ready(value) => {
                *lock(&run.steps[node.id.index()].value) = Some(value);
                let took = self.settle(node, began, Phase::Ready);
                run.telemetry.node_took(node.id, took);
                debug!(node = node.name(), ?took, "ready");
                core.observers.emit(&Event::Ready { node, took });
                Flow::Release
            }
            // An error after the start was given up is a consequence, not a cause.
            Ended::Failed(cause) if core.given_up.is_cancelled() => {
                debug!(
                    node = node.name(),
                    error = cause.as_error(),
                    "failed after the start was given up"
                );
                self.cancelled(node, began)
            }
            Ended::Failed(cause) => self.failed(node, began, cause),
            Ended::Cancelled => self.cancelled(node, began),
        }
    }

    fn failed(&self, node: &Node, began: Duration, cause: Cause) -> Flow {
        let core = &self.run.core;
        let took = self.settle(node, began, Phase::Failed);
        warn!(
            node = node.name(),
            ?took,
            optional = node.is_optional(),
            error = cause.as_error(),
            "failed"
        );
        core.observers.emit(&Event::Failed {
            node,
            took,
            error: cause.as_error(),
        });
        if node.is_optional() {
            return Flow::Release;
        }
        // Noted before the others are told, so that whoever sees the start given up also finds the reason.
        lock(&self.run.failures).push(NodeError {
            node: node.clone(),
            took,
            cause,
        });
        core.given_up.cancel();
        Flow::Halt
    }

    fn cancelled(&self, node: &Node, began: Duration) -> Flow {
        let took = self.settle(node, began, Phase::Cancelled);
        debug!(node = node.name(), ?took, "cancelled");
        self.run
            .core
            .observers
            .emit(&Event::Cancelled { node, took });
        Flow::Halt
    }

    /// Writes down when `node` was settled and returns its own time.
    fn settle(&self, node: &Node, began: Duration, phase: Phase) -> Duration {
        let settled = if node.is_value() {
            Duration::ZERO
        } else {
            self.run.elapsed()
        };
        // Each node is visited once, so this is the only write.
        let _ = self.run.steps[node.id.index()]
            .times
            .set(Times { began, settled });
        self.run.core.set_phase(node.id, phase);
        settled.saturating_sub(began)
    }
}

async fn limited(limit: Option<Duration>, initialiser: Guarded<Result<Value, BoxError>>) -> Ended {
    let mut initialiser = pin!(initialiser);
    let result = match limit {
        None => initialiser.await,
        // The initialiser is polled once more when its time is up: a result that is there counts.
        Some(limit) => match timeout(limit, &mut initialiser).await {
            Ok(result) => result,
            Err(_) => return Ended::Failed(Cause::TimedOut(limit)),
        },
    };
    match result {
        Ok(Ok(value)) => Ended::Ready(value),
        Ok(Err(error)) => Ended::Failed(Cause::Failed(error)),
        Err(panic) => Ended::Failed(Cause::Panicked(panic)),
    }
}

/// There are no retries yet.
const FIRST_ATTEMPT: u32 = 1;

/// How long a rollback waits for initialisers that block their thread.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
