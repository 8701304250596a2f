//! The async operation: futures on a current-thread runtime, one at a time or many at once.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::{Clock, Lanes, Took, Work};

pub(crate) struct Concurrent<Op> {
    // `None` only while it is dropped.
    op: Option<Rc<Op>>,
    runtime: Runtime,
}

impl<Op> Concurrent<Op> {
    pub(crate) fn new(set_up: impl AsyncFnOnce() -> Op) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs no more than a few file descriptors");
        let op = Some(Rc::new(runtime.block_on(set_up())));
        Self { op, runtime }
    }
}

impl<Op, T> Work for Concurrent<Op>
where
    Op: AsyncFn() -> T + 'static,
{
    fn lanes(&self) -> Lanes {
        Lanes::Futures
    }

    fn run(&mut self, iterations: u64, lanes: usize, clock: Clock) -> Took {
        let Some(op) = &self.op else {
            return Duration::ZERO.into();
        };
        if lanes == 1 {
            let all = repeat(op, iterations);
            return clock.time(|| self.runtime.block_on(all)).into();
        }
        let tasks = LocalSet::new();
        let lanes = lanes as u64;
        for lane in 0..lanes {
            let op = Rc::clone(op);
            let share = iterations / lanes + u64::from(lane < iterations % lanes);
            tasks.spawn_local(async move { repeat(&op, share).await });
        }
        clock.time(|| self.runtime.block_on(tasks)).into()
    }
}

impl<Op> Drop for Concurrent<Op> {
    /// What the operation captured may want the runtime when it is dropped, to spawn its clean-up for example.
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        self.op = None;
    }
}

async fn repeat<T>(op: &Rc<impl AsyncFn() -> T>, iterations: u64) {
    for _ in 0..iterations {
        black_box(black_box(op)().await);
    }
}
