//! What a component or an attempt that failed leaves behind: its hooks run at once, not only at the shutdown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::hooks;
use crate::core::lock;
use crate::error::NodeError;
use crate::plan::NodeId;
use crate::run::Run;

/// The clean-ups that have begun.
#[derive(Debug, Default)]
pub(crate) struct Cleanups(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: HashMap<NodeId, JoinHandle<()>>,
    failures: Vec<NodeError>,
    done: usize,
}

/// Cancels the token of `id`, which failed without ending the start, and runs the hooks that it registered, on a task
/// of its own within the stop timeout. A stop that comes meanwhile waits for it.
///
/// At once, because what a failed component holds (a port, a lock, a connection) is of no use to anybody, and may be
/// in the way of whoever takes its place. Nobody depends on its value, and what it depends on is still there.
pub(crate) fn clean_up(run: &Arc<Run>, id: NodeId) {
    if run.core.hooks(id) == 0 {
        run.core.cancel_token(id);
        return;
    }
    let task = {
        let run = Arc::clone(run);
        let restarts = run.core.restarts(id);
        async move {
            let limit = run.settings.stop_timeout;
            let deadline = hooks::after(Instant::now(), limit);
            let node = run.core.plan.node(id);
            let left = || run.core.restarts(id) != restarts;
            let ended = hooks::stop(&run, node, deadline, limit, left).await;
            let Some(ended) = ended else { return };
            let mut state = lock(&run.life.cleanups.0);
            state.note(ended.failures);
            state.done += 1;
        }
    };
    let mut state = lock(&run.life.cleanups.0);
    state.running.retain(|_, task| !task.is_finished());
    let task = run.runtime.spawn(task.in_current_span());
    state.running.insert(id, task);
}

/// Cancels the token of `id`, whose attempt failed, and runs the hooks that it registered, on a task of its own by
/// `end` at the latest; told when that is done. A stop that comes meanwhile waits for it.
///
/// Before there is another attempt, because what the failed one holds (a port that it bound) would be in its way.
pub(crate) fn undo_attempt(
    run: &Arc<Run>,
    id: NodeId,
    end: Option<Instant>,
) -> oneshot::Receiver<()> {
    let (done, told) = oneshot::channel();
    if run.core.hooks(id) == 0 {
        run.core.cancel_token(id);
        run.core.renew_token(id);
        // Its end is all that the other side hears.
        drop(done);
        return told;
    }
    let limit = run.settings.stop_timeout;
    let own = run.steps[id.index()].options().stop_timeout;
    let deadline = hooks::after(Instant::now(), own.unwrap_or(limit).min(limit));
    let deadline = end.map_or(deadline, |end| end.min(deadline));
    let task = {
        let run = Arc::clone(run);
        async move {
            let _done = done;
            let failures = hooks::undo_attempt(&run, run.core.plan.node(id), deadline).await;
            lock(&run.life.cleanups.0).note(failures);
        }
    };
    let mut state = lock(&run.life.cleanups.0);
    state.running.retain(|_, task| !task.is_finished());
    let task = run.runtime.spawn(task.in_current_span());
    state.running.insert(id, task);
    told
}

impl State {
    fn note(&mut self, failures: Vec<NodeError>) {
        let space = FAILURES_MAX.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(space));
    }
}

impl Cleanups {
    /// Waits for the clean-up of `id` until `deadline`, which comes after its own; false when it blocks its thread.
    pub(super) async fn finish(&self, id: NodeId, deadline: Instant) -> bool {
        let task = lock(&self.0).running.remove(&id);
        if let Some(mut task) = task
            && timeout_at(deadline, &mut task).await.is_err()
        {
            task.abort();
            return false;
        }
        true
    }

    /// How many components were cleaned up since the last time, and what failed.
    pub(super) fn take(&self) -> (usize, Vec<NodeError>) {
        let mut state = lock(&self.0);
        let failures = std::mem::take(&mut state.failures);
        (std::mem::take(&mut state.done), failures)
    }
}

/// Restarts without end may fail without end; each failure was logged.
const FAILURES_MAX: usize = 1_000;
