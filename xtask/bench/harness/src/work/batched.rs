//! The operation that uses up its input: inputs are made in batches outside the measured time.

use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use super::{Clock, Lanes, Took, Work};

/// A batch takes at least this long, so that reading the clock, some 50 ns, adds no more than half a percent. It is no
/// longer than needed, so that inputs stay in the caches as far as one can see to it.
const BATCH_TIME: Duration = Duration::from_micros(10);
const BATCH_MAX: u64 = 256;

pub(crate) struct Batched<Prepare, Op, Input> {
    prepare: Prepare,
    op: Op,
    inputs: Vec<Input>,
    // Only ever grows: that one batch was interrupted does not make the next ones smaller.
    batch: u64,
}

impl<Prepare, Op, Input> Batched<Prepare, Op, Input> {
    pub(crate) fn new((prepare, op): (Prepare, Op)) -> Self {
        Self {
            prepare,
            op,
            inputs: Vec::new(),
            batch: 1,
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

    fn run(&mut self, iterations: u64, _lanes: usize, clock: Clock) -> Took {
        let Self {
            prepare,
            op,
            inputs,
            batch,
        } = self;
        let mut left = iterations;
        let mut elapsed = Duration::ZERO;
        while left > 0 {
            let size = left.min(*batch);
            uncounted(|| inputs.extend((0..size).map(|_| prepare())));
            let time = clock.time(|| {
                for input in inputs.drain(..) {
                    black_box(black_box(&mut *op)(black_box(input)));
                }
            });
            if size == *batch && time < BATCH_TIME {
                *batch = (*batch * 2).min(BATCH_MAX);
            }
            elapsed += time;
            left -= size;
        }
        elapsed.into()
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
