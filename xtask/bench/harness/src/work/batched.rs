//! The operation that uses up its input: inputs are made in batches outside the measured time.

use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use super::{Clock, Lanes, Work};

/// Large enough that reading the clock, some 50 ns for each batch, does not show in a nanosecond; small enough that the
/// inputs of most benches fit a second-level cache.
const BATCH: u64 = 256;

pub(crate) struct Batched<Prepare, Op, Input> {
    prepare: Prepare,
    op: Op,
    inputs: Vec<Input>,
}

impl<Prepare, Op, Input> Batched<Prepare, Op, Input> {
    pub(crate) fn new((prepare, op): (Prepare, Op)) -> Self {
        Self {
            prepare,
            op,
            inputs: Vec::new(),
        }
    }
}

impl<Prepare, Op, Input, T> Work for Batched<Prepare, Op, Input>
where
    Prepare: FnMut() -> Input,
    Op: FnMut(Input) -> T,
{
    fn lanes(&self) -> Lanes {
        Lanes::One
    }

    fn run(&mut self, iterations: u64, _lanes: usize, clock: Clock) -> Duration {
        let Self {
            prepare,
            op,
            inputs,
        } = self;
        let mut left = iterations;
        let mut elapsed = Duration::ZERO;
        while left > 0 {
            let batch = left.min(BATCH);
            uncounted(|| inputs.extend((0..batch).map(|_| prepare())));
            elapsed += clock.time(|| {
                for input in inputs.drain(..) {
                    black_box(black_box(&mut *op)(black_box(input)));
                }
            });
            left -= batch;
        }
        elapsed
    }
}

/// Runs `action` without counting its allocations. A panic must not skip the end of `opt_out`, or nothing would be counted
/// ever after.
fn uncounted(action: impl FnOnce()) {
    let mut result = Ok(());
    allocation_counter::opt_out(|| result = panic::catch_unwind(AssertUnwindSafe(action)));
    if let Err(panic) = result {
        panic::resume_unwind(panic);
    }
}
