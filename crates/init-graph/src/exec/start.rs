//! The start as a whole: validates, lets the walk run, and decides how it all ended.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::starter::Starter;
use super::walk::{Walk, Way};
use crate::core::{Phase, lock};
use crate::error::{Cause, GraphError, NodeError, StartError};
use crate::event::Event;
use crate::graph::Graph;
use crate::plan::Node;
use crate::run::Run;
use crate::running::Running;
use crate::{stop, wiring};

pub(crate) async fn start(graph: Graph, _until: Option<&str>) -> Result<Running, GraphError> {
    let begun = Instant::now();
    let runtime = Handle::try_current().map_err(|_| GraphError::NoRuntime)?;
    if !has_timer() {
        return Err(GraphError::NoRuntime);
    }
    let wiring = match wiring::resolve(&graph) {
        Ok(wiring) => wiring,
        Err(errors) => {
            let error = GraphError::Wiring(errors);
            graph.observers.emit(&Event::StartFailed {
                took: begun.elapsed(),
                error: &error,
            });
            return Err(error);
        }
    };
    let Graph {
        components,
        observers,
        settings,
        ..
    } = graph;
    let cancel_on = settings.cancel_on.clone();
    let stop_timeout = settings.stop_timeout;
    let run = Run::new(
        wiring,
        components,
        observers,
        settings,
        begun,
        runtime.clone(),
    );
    let run = Arc::new(run);

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
    let starter = Starter {
        run: Arc::clone(&run),
    };
    let mut way = Way::new(&starter, core.plan.nodes().len());
    for node in core.plan.nodes().iter().filter(|node| node.lazy) {
        way.defer(node.id);
    }
    let walk = Walk::new(starter, way);
    // Only here, and this is the one start of the run.
    let _ = run.walk.set(Arc::downgrade(&walk));
    walk.begin();
    tokio::select! {
        biased;
        () = walk.done() => {}
        () = core.given_up.cancelled() => {}
        () = any_cancelled(&cancel_on) => core.given_up.cancel(),
        // Cancellation rule: a dropped start gives up like a cancelled one.
        () = caller.closed() => core.given_up.cancel(),
    }
    if !core.given_up.is_cancelled() {
        note_lost(&run);
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

/// Whether the current runtime has a time driver; tokio says so only by a panic.
fn has_timer() -> bool {
    std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// A walk whose task panicked ends early. No code of components can do that, but a `tracing` subscriber could.
fn note_lost(run: &Run) {
    let lost = |node: &&Node| match run.core.phase(node.id()) {
        Phase::Ready | Phase::Skipped => false,
        // A failure of any other would have given up the start.
        Phase::Failed => !node.is_optional(),
        _ => true,
    };
    if let Some(node) = run.core.plan.nodes().iter().find(lost) {
        let cause = Cause::Panicked("its task died outside of the initialiser".to_owned());
        lock(&run.failures).push(NodeError {
            node: node.clone(),
            took: Duration::ZERO,
            attempts: 1,
            cause: Arc::new(cause),
        });
        run.core.given_up.cancel();
    }
}

async fn any_cancelled(tokens: &[CancellationToken]) {
    let mut waits: Vec<_> = tokens
        .iter()
        .map(|token| Box::pin(token.cancelled()))
        .collect();
    poll_fn(|cx| {
        let mut any = Poll::Pending;
        for wait in &mut waits {
            if wait.as_mut().poll(cx).is_ready() {
                any = Poll::Ready(());
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
    drop(timeout(CANCEL_GRACE.min(stop_timeout), walk.done()).await);
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

/// How long a rollback waits for initialisers that block their thread; never longer than the stop timeout.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
