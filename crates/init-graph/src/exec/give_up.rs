//! How a start ends that does not succeed, and how what still starts ends when a running graph stops.

use std::borrow::Cow;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::starter::Starter;
use super::walk::Walk;
use crate::core::{Phase, lock};
use crate::error::{Cause, GraphError, NodeError, StartError};
use crate::event::Event;
use crate::failure::{Failure, Why};
use crate::plan::Node;
use crate::run::Run;
use crate::{history, stop};

/// Ends what still runs, says why it was all for nothing and stops what has started.
pub(super) async fn give_up(run: &Arc<Run>, walk: &Arc<Walk<Starter>>) -> GraphError {
    run.core.given_up.cancel();
    let limit = run.settings.stop_timeout;
    let abandoned = wind_down_walk(walk, limit).await;
    let report = run.report_of_failed();
    history::write(run, || report.clone());
    let failures = std::mem::take(&mut *lock(&run.failures));
    let mut error = if failures.is_empty() {
        GraphError::Cancelled {
            report,
            rollback: None,
        }
    } else {
        GraphError::Failed(StartError::new(failures, report))
    };
    run.core.observers.emit(&Event::StartFailed {
        took: run.elapsed(),
        error: &error,
    });
    let mut report = stop::spawn(Arc::clone(run), limit).await;
    history::written(run).await;
    report.abandoned.splice(..0, abandoned);
    error.set_rollback(report);
    error
}

/// Lets nothing begin any more, and waits until nothing runs: initialisers may end by themselves for the cancel grace of
/// the graph and are then dropped at their current await. Those that block a thread are waited for, though never longer
/// than `limit`; they are left behind, and their names are returned. Does nothing the second time.
pub(crate) async fn wind_down(run: &Run, limit: Duration) -> Vec<Cow<'static, str>> {
    // Without a walk there is nothing that could run.
    match run.walk.get().and_then(Weak::upgrade) {
        Some(walk) => wind_down_walk(&walk, limit).await,
        None => Vec::new(),
    }
}

async fn wind_down_walk(walk: &Walk<Starter>, limit: Duration) -> Vec<Cow<'static, str>> {
    let closing = &walk.visitor.closing;
    if !closing.wind_down() {
        return Vec::new();
    }
    let grace = walk.visitor.run.settings.cancel_grace.min(limit);
    closing.close();
    if !grace.is_zero() {
        tokio::select! {
            biased;
            _ = timeout(grace, walk.done()) => {}
            () = walk.visitor.run.life.hurry.cancelled() => {}
        }
    }
    closing.cut_off();
    drop(timeout(BLOCKED_GRACE.min(limit), walk.done()).await);
    settle_the_rest(&walk.visitor.run)
}

fn settle_the_rest(run: &Run) -> Vec<Cow<'static, str>> {
    let core = &run.core;
    let mut abandoned = Vec::new();
    for node in core.plan.nodes() {
        let phase = core.phase(node.id);
        match phase {
            // Nobody asked for it.
            Phase::Pending if node.lazy => {}
            Phase::Pending | Phase::Queued => {
                run.set_failure(node.id, Failure::new(node.name.clone(), Why::GivenUp));
                if core.claim(node.id) {
                    core.observers.emit(&Event::Skipped {
                        node,
                        because: "the start was given up",
                    });
                    core.settle(node.id, Phase::Skipped);
                }
            }
            Phase::Running | Phase::Backoff => {
                let took = run.elapsed().saturating_sub(run.times(node.id).0);
                if core.claim(node.id) {
                    warn!(
                        node = node.name(),
                        "initialiser blocks its thread; going on without it"
                    );
                    core.observers.emit(&Event::Abandoned { node, took });
                    core.settle(node.id, Phase::Cancelled);
                    abandoned.push(node.name.clone());
                }
            }
            _ => {}
        }
    }
    abandoned
}

/// Notes what the start was still waiting for when its time was up, and gives it up; false when nothing is left to wait
/// for after all.
pub(super) fn note_late(walk: &Walk<Starter>) -> bool {
    let run = &walk.visitor.run;
    let limit = run.settings.timeout.unwrap_or_default();
    let runs = |node: &&Node| matches!(run.core.phase(node.id), Phase::Running | Phase::Backoff);
    let waits = |node: &&Node| !node.lazy && !run.core.phase(node.id).is_settled();
    let nodes = run.core.plan.nodes();
    let mut late: Vec<_> = nodes
        .iter()
        .filter(runs)
        .filter(|node| !node.background)
        .collect();
    if late.is_empty() {
        late.extend(nodes.iter().find(waits));
    }
    if late.is_empty() {
        return false;
    }
    let failures = late.into_iter().map(|node| {
        let earlier = run.core.known(node.id).map(|extra| *lock(&extra.earlier));
        NodeError {
            node: node.clone(),
            took: run.elapsed().saturating_sub(run.times(node.id).0),
            attempts: earlier.map_or(0, |earlier| earlier.attempts) + 1,
            cause: Arc::new(Cause::Deadline(limit)),
        }
    });
    lock(&run.failures).extend(failures);
    // Only now: whoever waits for another attempt is settled by this, and was late all the same.
    walk.visitor.closing.give_up();
    true
}

/// A visit that panicked ends its walk early. No code of components can do that, but a `tracing` subscriber could.
pub(super) fn note_lost(walk: &Walk<Starter>) {
    let run = &walk.visitor.run;
    let lost = |node: &&Node| !node.lazy && !run.core.phase(node.id).is_settled();
    let Some(node) = run.core.plan.nodes().iter().find(lost) else {
        return;
    };
    if walk.visitor.closing.is_closed() {
        return;
    }
    let cause = Cause::Panicked("its task died outside of the initialiser".to_owned());
    let cause = Arc::new(cause);
    let why = Why::Failed(Arc::clone(&cause));
    run.set_failure(node.id, Failure::new(node.name.clone(), why));
    if run.core.claim(node.id) {
        run.core.settle(node.id, Phase::Failed);
    }
    lock(&run.failures).push(NodeError {
        node: node.clone(),
        took: Duration::ZERO,
        attempts: 1,
        cause,
    });
    run.life.failed.notify_waiters();
    walk.visitor.closing.give_up();
}

/// How long to wait for initialisers that block their thread.
const BLOCKED_GRACE: Duration = Duration::from_secs(5);
