//! The two background tasks of a monitor; each ends by itself when the monitor is gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::monitor::Inner;

/// Spawns the upkeep of the facade's histograms and the sampler of the process.
///
/// Both hold the monitor weakly and end at the first tick at which it is gone, or with the runtime.
pub(crate) fn spawn(runtime: &Handle, inner: &Arc<Inner>) {
    let interval = inner.config.interval;
    runtime.spawn(every(UPKEEP_INTERVAL, Arc::downgrade(inner), |inner| {
        inner.facade.drain();
    }));
    runtime.spawn(every(interval, Arc::downgrade(inner), |inner| {
        inner.process.recent();
    }));
}

async fn every(period: Duration, inner: Weak<Inner>, work: fn(&Inner)) {
    loop {
        // Cancelled here (the runtime shuts down): nothing is held but the weak reference.
        tokio::time::sleep(period).await;
        let Some(inner) = inner.upgrade() else { return };
        // Reading files and draining many series take longer than a worker should be kept. A job
        // that was begun goes on even if this task is cancelled, and ends by itself.
        let job = tokio::task::spawn_blocking(move || work(&inner));
        if let Err(error) = job.await {
            tracing::warn!(%error, "background work of the monitor failed; it is tried again");
        }
    }
}

/// Short enough that the samples of a busy service stay in the low megabytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
