//! How a graph runs: the walk over its nodes, the start of one node, and the start as a whole.

mod start;

mod attempt;
mod closing;
mod forecast;
mod give_up;
mod starter;
mod way;

mod handoff;
mod limits;
mod ready;
mod walk;

pub(crate) use self::give_up::wind_down;
pub(crate) use self::start::start;
pub(crate) use self::starter::Starter;
pub(crate) use self::walk::{Flow, Visitor, Walk, Way};
pub(crate) use self::way::way_of;

use std::sync::Weak;

use crate::plan::NodeId;
use crate::run::Run;

/// Lets deferred nodes of a start begin as soon as their dependencies are settled; those that may already do nothing
/// more.
pub(crate) fn activate(run: &Run, nodes: &[NodeId]) {
    // Without a walk there is no running graph any more, and nothing is to begin.
    let Some(walk) = run.walk.get().and_then(Weak::upgrade) else {
        return;
    };
    for node in nodes {
        walk.activate(*node);
    }
}

/// The primitives that the hand-off stands on, named in one place so that a model checker can put its own there.
mod sync {
    pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
}
