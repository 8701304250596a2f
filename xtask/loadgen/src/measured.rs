//! What a run against a crate of this workspace brings: the numbers of any run, and what only that crate knows.

use crate::Outcome;

/// A run that drove a pool or a cache directly.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// As of an HTTP run; its routes are the operations.
    pub outcome: Outcome,
    /// What the pool or the cache says about itself, one line each.
    pub notes: Vec<String>,
}
