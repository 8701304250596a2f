//! The task that looks after a pool once a second: it ends when the pool is closed or dropped.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::backend::Backend;
use crate::pool::Inner;

/// Runs until the pool behind `pool` is closed or gone.
pub(crate) async fn run<B: Backend>(pool: Weak<Inner<B>>) {
    let mut ticks = interval(TICK);
    // After a long sleep of the machine once is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let Some(shared) = pool.upgrade().map(|pool| pool.shared_handle()) else {
            return;
        };
        tokio::select! {
            biased;
            () = shared.closed() => return,
            () = shared.chores.notified() => {}
            _ = ticks.tick() => {}
        }
        drop(shared);
        match pool.upgrade() {
            Some(pool) => pool.upkeep(Instant::now()),
            None => return,
        }
    }
}

const TICK: Duration = Duration::from_secs(1);
