//! How a graph runs: the walk over its nodes, the start of one node, and the start as a whole.

mod handoff;
mod limits;
mod ready;
mod start;
mod starter;
mod walk;

pub(crate) use self::start::start;
pub(crate) use self::starter::Starter;
pub(crate) use self::walk::{Flow, Visitor, Walk, Way};

/// The primitives that the hand-off stands on, named in one place so that a model checker can put its own there.
mod sync {
    pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, atomic};
}
