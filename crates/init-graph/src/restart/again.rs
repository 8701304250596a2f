//! The walk over a part of the graph that starts again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::exec::{Starter, Walk, way_of};
use crate::plan::NodeId;
use crate::policy::Policy;
use crate::run::Run;

/// Starts `part`, and returns when all of it has ended: is settled, did not begin because of a failure, or was dropped
/// because of one or because the graph closes.
pub(super) async fn start(run: &Arc<Run>, part: &[NodeId]) {
    let starter = Starter::in_running(Arc::clone(run));
    let within: HashSet<_> = part.iter().copied().collect();
    let way = way_of(&starter, |node| within.contains(&node));
    let walk = Walk::new(starter, way);
    run.life.restarts.note_walk(&walk);
    walk.begin();
    let closing = &walk.visitor.closing;
    tokio::select! {
        biased;
        () = walk.done() => return,
        () = run.life.closed() => {}
        () = closing.closed(), if run.settings.policy == Policy::FailFast => {}
    }
    // Cancellation rule: a failure and a shutdown end a restart as they end a start.
    closing.close();
    for id in part {
        if !run.core.phase(*id).is_settled() {
            run.core.cancel_token(*id);
        }
    }
    drop(timeout(run.settings.cancel_grace, walk.done()).await);
    closing.cut_off();
    // What blocks its thread may only be left behind when nothing starts in its place any more.
    tokio::select! {
        biased;
        () = walk.done() => return,
        () = run.life.closed() => {}
    }
    drop(timeout(BLOCKED_GRACE, walk.done()).await);
}

/// How long initialisers that block their thread are waited for.
const BLOCKED_GRACE: Duration = Duration::from_secs(1);
