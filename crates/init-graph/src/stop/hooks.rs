//! The stop of one node: its token, its hooks one after another within a time limit, and its value.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use crate::core::{Hook, Phase, lock};
use crate::error::{Cause, NodeError};
use crate::event::Event;
use crate::guard::{Guarded, drop_quietly, log_quietly};
use crate::plan::Node;
use crate::run::Run;

/// How the stop of one node went.
pub(super) struct Ended {
    pub(super) took: Duration,
    /// How many there were when it began.
    pub(super) hooks: usize,
    pub(super) failures: Vec<NodeError>,
}

/// Stops `node` by `deadline` at the latest. `None` when a hook blocked its thread for so long that it was `left`: then
/// the node may have started again, and nothing of that is touched.
pub(super) async fn stop(
    run: &Run,
    node: &Node,
    deadline: Instant,
    limit: Duration,
    left: impl Fn() -> bool,
) -> Option<Ended> {
    let core = &run.core;
    core.observers.emit(&Event::Stopping { node });
    core.cancel_token(node.id);
    let own = run.steps[node.id.index()].options().stop_timeout;
    let hooks = core.hooks(node.id);
    let begun = Instant::now();
    let deadline = after(begun, own.unwrap_or(limit)).min(deadline);
    let span = info_span!("component_stop", name = node.name(), stage = node.stage());
    let causes = run_hooks(run, node, deadline, &left).instrument(span).await;
    if left() {
        return None;
    }
    // Nothing makes a value again, so a restart keeps it.
    if !(node.is_value() && lock(&run.life.lazies).is_restarting(node.id)) {
        drop_quietly(run.replace_value(node.id, None));
    }
    let took = begun.elapsed();
    if let Some(extra) = core.known(node.id) {
        lock(&extra.earlier).stop = Some(took);
    }
    let error = |cause| NodeError {
        node: node.clone(),
        took,
        attempts: 0,
        cause: Arc::new(cause),
    };
    let failures: Vec<_> = causes.into_iter().map(error).collect();
    report(run, node, took, failures.first());
    Some(Ended {
        took,
        hooks,
        failures,
    })
}

/// Runs the hooks that a failed attempt of `node` registered, without a word to the observers: the node goes on.
pub(super) async fn undo_attempt(run: &Run, node: &Node, deadline: Instant) -> Vec<NodeError> {
    let core = &run.core;
    core.cancel_token(node.id);
    let begun = Instant::now();
    let mut failures = Vec::new();
    for _ in 0..LATE_HOOKS_MAX {
        let Some(hook) = core.take_hook(node.id) else {
            break;
        };
        if let Err(cause) = run_hook(hook, deadline, &run.life.hurry).await {
            log_quietly(|| {
                let error = cause.as_error();
                warn!(
                    node = node.name(),
                    error, "stop hook of a failed attempt failed"
                );
            });
            failures.push(NodeError {
                node: node.clone(),
                took: begun.elapsed(),
                attempts: 0,
                cause: Arc::new(cause),
            });
        }
    }
    core.renew_token(node.id);
    failures
}

fn report(run: &Run, node: &Node, took: Duration, failure: Option<&NodeError>) {
    let observers = &run.core.observers;
    match failure {
        None => {
            debug!(node = node.name(), ?took, "stopped");
            observers.emit(&Event::Stopped { node, took });
        }
        Some(failure) => observers.emit(&Event::StopFailed {
            node,
            took,
            error: failure.cause.as_error(),
        }),
    }
}

/// Runs the hooks, the one registered last first, each even if another failed.
///
/// Every hook that was there at the begin has its turn. Of those that hooks register meanwhile, only so many and only
/// in time: otherwise a hook that registers itself again would never end.
async fn run_hooks(
    run: &Run,
    node: &Node,
    deadline: Instant,
    left: &impl Fn() -> bool,
) -> Vec<Cause> {
    let core = &run.core;
    let mut causes = Vec::new();
    let mut early = core.hooks(node.id);
    let mut late = 0;
    while !left()
        && let Some((hook, position)) = core.pop_hook(node.id)
    {
        if position < early {
            early = position;
        } else {
            late += 1;
            if late > LATE_HOOKS_MAX || Instant::now() >= deadline {
                drop_quietly(hook);
                causes.push(Cause::Failed(
                    "registered more stop hooks while it stopped than could run; the rest was dropped".into(),
                ));
                continue;
            }
        }
        if let Err(cause) = run_hook(hook, deadline, &run.life.hurry).await {
            log_quietly(|| {
                warn!(
                    node = node.name(),
                    error = cause.as_error(),
                    "stop hook failed"
                );
            });
            causes.push(cause);
        }
    }
    causes
}

/// Runs one hook until `deadline`. Past the deadline it is still polled once, so that a hook that need not wait ends.
async fn run_hook(hook: Hook, deadline: Instant, hurry: &CancellationToken) -> Result<(), Cause> {
    let given = deadline.saturating_duration_since(Instant::now());
    // Cancellation rule: a hook that outlives its time, or a stop that is cut short, is dropped at its current await,
    // and the next one begins.
    let ended = tokio::select! {
        biased;
        ended = timeout_at(deadline, Guarded::new(hook)) => ended,
        () = hurry.cancelled() => return Err(Cause::Interrupted),
    };
    match ended {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Cause::Failed(error)),
        Ok(Err(panic)) => Err(Cause::Panicked(panic)),
        Err(_) => Err(Cause::TimedOut(given)),
    }
}

/// Whether `node` has anything to stop.
pub(super) fn is_up(run: &Run, node: &Node) -> bool {
    run.core.phase(node.id) == Phase::Ready || run.core.hooks(node.id) > 0
}

/// A limit too long to count is as good as a year.
pub(super) fn after(begin: Instant, limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    begin.checked_add(limit).unwrap_or_else(|| begin + YEAR)
}

/// So many hooks may the hooks of one node register while it stops.
const LATE_HOOKS_MAX: usize = 1_000;
