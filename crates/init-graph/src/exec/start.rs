//! The start as a whole: validates, lets the walk run, and decides how it all ended.

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::give_up::{give_up, note_late, note_lost};
use super::starter::Starter;
use super::walk::Walk;
use super::way::way;
use crate::core::{Phase, lock};
use crate::error::GraphError;
use crate::event::Event;
use crate::graph::Graph;
use crate::guard::{drop_quietly, log_quietly};
use crate::plan::NodeId;
use crate::policy::Policy;
use crate::run::Run;
use crate::running::Running;
use crate::{history, waiting, wiring};

pub(crate) async fn start(graph: Graph, until: Option<&str>) -> Result<Running, GraphError> {
    let begun = Instant::now();
    let runtime = Handle::try_current().map_err(|_| GraphError::NoRuntime)?;
    if !has_timer() {
        return Err(GraphError::NoRuntime);
    }
    let resolved = wiring::resolve(&graph).and_then(|wiring| {
        let goal = until
            .map(|name| wiring::milestone(&wiring.plan, name))
            .transpose()?;
        Ok((wiring, goal))
    });
    let (wiring, goal) = match resolved {
        Ok(resolved) => resolved,
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
    let run = Run::new(
        wiring,
        components,
        observers,
        settings,
        begun,
        runtime.clone(),
    );

    if let Some(goal) = goal {
        // A run starts once.
        let _ = run.goal.set(goal);
    }
    history::read(&run).await;

    // A task of its own, so that a rollback goes on when the caller drops this future.
    let (caller, ended) = oneshot::channel();
    let span = info_span!("init_graph");
    runtime.spawn(supervise(Arc::new(run), goal, caller).instrument(span));
    match ended.await {
        Ok(Ok(handover)) => handover.take(),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(GraphError::NoRuntime),
    }
}

/// Whether the current runtime has a time driver; tokio says so only by a panic.
fn has_timer() -> bool {
    std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
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

/// What ends the wait for a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All that it waits for is settled.
    Reached,
    /// A component failed, and the policy gives up for it.
    Failed,
    Cancelled,
    OutOfTime,
}

async fn supervise(run: Arc<Run>, goal: Option<NodeId>, mut caller: Caller) {
    let core = &run.core;
    core.observers.emit(&Event::Planned { plan: &core.plan });
    let starter = Starter::new(Arc::clone(&run));
    let way = way(&starter);
    let walk = Walk::new(starter, way);
    // Only here, and this is the one start of the run.
    let _ = run.walk.set(Arc::downgrade(&walk));
    let closing = &walk.visitor.closing;
    if caller.is_closed()
        || run
            .settings
            .cancel_on
            .iter()
            .any(CancellationToken::is_cancelled)
    {
        closing.give_up();
    }
    walk.begin();

    let mut end = first_end(&run, &mut caller, reached(&walk, goal), closing.closed()).await;
    if end == End::OutOfTime && !note_late(&walk) {
        // The last of them was settled at that very moment.
        end = End::Reached;
    }
    if end == End::Reached {
        if walk.is_over() {
            note_lost(&walk);
        }
        let missed = goal.is_some_and(|goal| core.phase(goal) != Phase::Ready);
        if missed && !lock(&run.failures).is_empty() {
            closing.give_up();
        }
        if closing.hand_over() {
            return hand_over(run, &walk, caller).await;
        }
        // A component failed at the same moment.
        end = End::Failed;
    }
    if end == End::Failed && run.settings.policy == Policy::Drain && !lock(&run.failures).is_empty()
    {
        end = first_end(&run, &mut caller, walk.done(), pending()).await;
        if end == End::OutOfTime {
            note_late(&walk);
        }
    }
    let error = give_up(&run, &walk).await;
    if let Err(Err(error)) = caller.send(Err(error)) {
        log_quietly(|| {
            warn!(%error, "the start was dropped; everything that had started was stopped");
        });
        drop_quietly(error);
    }
    core.observers.publish();
}

/// Waits for what comes first. Cancellation rule: a dropped start gives up like a cancelled one.
async fn first_end(
    run: &Run,
    caller: &mut Caller,
    reached: impl Future<Output = ()>,
    closed: impl Future<Output = ()>,
) -> End {
    let limit = run.settings.timeout;
    let deadline = limit.and_then(|limit| run.begun.checked_add(limit));
    tokio::select! {
        biased;
        () = reached => End::Reached,
        never = waiting::tell(run) => match never {},
        () = closed => End::Failed,
        () = any_cancelled(&run.settings.cancel_on) => End::Cancelled,
        () = caller.closed() => End::Cancelled,
        () = reaches(deadline) => End::OutOfTime,
    }
}

/// Waits until all is settled that the start waits for. A walk that is over settles nothing more, whatever is missing.
async fn reached(walk: &Arc<Walk<Starter>>, goal: Option<NodeId>) {
    let core = &walk.visitor.run.core;
    let goal_settled = async {
        match goal {
            None => walk.visitor.foreground_done().await,
            Some(goal) => loop {
                let settled = core.settled(goal);
                if core.phase(goal).is_settled() {
                    return;
                }
                settled.await;
            },
        }
    };
    tokio::select! {
        biased;
        () = goal_settled => {}
        () = walk.done() => {}
    }
}

async fn reaches(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
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

/// Gives the running graph to the caller and stays with what goes on in the background.
async fn hand_over(run: Arc<Run>, walk: &Arc<Walk<Starter>>, caller: Caller) {
    let took = run.elapsed();
    let core = &run.core;
    core.observers.emit(&Event::Started { took });
    info!(nodes = core.plan.nodes().len(), ?took, "started");
    let settled = walk.is_over();
    if settled {
        core.observers.emit(&Event::Settled { took });
    }
    let running = Running::new(Arc::clone(&run), Arc::clone(walk), took);
    if settled {
        history::write(&run, || run.report(took));
    }
    // When the caller is gone by now, the handover stops the graph.
    drop(caller.send(Ok(Handover(Some(running)))));
    core.observers.publish();
    if settled {
        return;
    }
    walk.done().await;
    note_lost(walk);
    history::write(&run, || run.report(took));
    if !walk.visitor.closing.is_closed() {
        let took = run.elapsed();
        core.observers.emit(&Event::Settled { took });
    }
}
