//! How a graph runs: the walk over its nodes, the start of one node, and the start as a whole.

mod start;
mod starter;
mod walk;

pub(crate) use self::start::start;
pub(crate) use self::starter::Starter;
pub(crate) use self::walk::{Flow, Visitor, Walk};
