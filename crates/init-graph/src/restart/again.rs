//! The walk over a part of the graph that starts again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::exec::{Starter, Walk, way_of};
use crate::plan::NodeId;
use crate::run::Run;

/// Starts `part`, and returns when all of it is settled, or when the graph closes and what ran has been dropped.
pub(super) async fn start(run: &Arc<Run>, part: &[NodeId]) {
    let starter = Starter::in_running(Arc::clone(run));
    let within: HashSet<_> = part.iter().copied().collect();
    let way = way_of(&starter, |node| within.contains(&node));
    let walk = Walk::new(starter, way);
    run.life.restarts.note_walk(&walk);
    walk.begin();
    tokio::select! {
        biased;
        () = walk.done() => return,
        () = run.life.closed() => {}
    }
    // Cancellation rule: a shutdown ends a restart as it ends a start.
    let closing = &walk.visitor.closing;
    closing.close();
    drop(timeout(run.settings.cancel_grace, walk.done()).await);
    closing.cut_off();
    drop(timeout(BLOCKED_GRACE, walk.done()).await);
}

/// How long initialisers that block their thread are waited for.
const BLOCKED_GRACE: Duration = Duration::from_secs(1);
