//! The plain operation: a closure called again and again.

use super::{Clock, Lanes, Took, Work};
use std::hint::black_box;

pub(crate) struct Plain<Op>(Op);

impl<Op> Plain<Op> {
    pub(crate) fn new(op: Op) -> Self {
        Self(op)
    }
}

impl<Op: FnMut() -> T, T> Work for Plain<Op> {
    fn lanes(&self) -> Lanes {
        Lanes::One
    }

    fn run(&mut self, iterations: u64, _lanes: usize, clock: Clock) -> Took {
        clock.time(|| repeat(&mut self.0, iterations)).into()
    }
}

/// Calls `op` so many times. Neither its result nor what it captured is known to the optimiser, so that no call is left
/// out, and none of its work is moved out of the loop.
pub(super) fn repeat<T>(op: &mut impl FnMut() -> T, iterations: u64) {
    for _ in 0..iterations {
        black_box(black_box(&mut *op)());
    }
}
