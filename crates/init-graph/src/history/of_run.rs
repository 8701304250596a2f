//! The history of a graph that keeps one: read before its start, written after it, on blocking threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{Instrument as _, warn};

use super::History;
use crate::core::lock;
use crate::report::Report;
use crate::run::Run;

/// Reads the history of the graph, if it keeps one, and says in the log what is wrong with it.
///
/// A file system that hangs delays the start by no more than two seconds.
pub(crate) async fn read(run: &Run) {
    let Some(path) = run.settings.history.clone() else {
        return;
    };
    let shown = path.clone();
    let history = match timeout(READ_TIMEOUT, spawn_blocking(move || History::load(path))).await {
        Ok(Ok((history, error))) => {
            if let Some(error) = error {
                let error = chain(&error);
                warn!(%error, "the history of earlier starts is damaged");
            }
            history
        }
        Ok(Err(_)) => return,
        Err(_) => {
            let path = shown.display();
            warn!(%path, "the history of earlier starts could not be read in time");
            return;
        }
    };
    // A run starts once.
    let _ = run.earlier.set(Arc::new(history));
}

/// Adds the start to the history of the graph, if it keeps one; says in the log when that fails. Does not wait.
///
/// The file is read once more, so that what another process wrote meanwhile stays.
pub(crate) fn write(run: &Run, report: impl FnOnce() -> Report) {
    let Some(path) = run.settings.history.clone() else {
        return;
    };
    let report = report();
    let written = spawn_blocking(move || {
        // What was wrong with it was said when it was read.
        let (mut history, _) = History::load(&path);
        history.record(&report);
        history.save(&path)
    });
    let told = async move {
        if let Ok(Err(error)) = written.await {
            let error = chain(&error);
            warn!(%error, "this start is not added to the history");
        }
    };
    *lock(&run.history_write) = Some(tokio::spawn(told.in_current_span()));
}

/// Waits until the start is written down, for two seconds at most.
pub(crate) async fn written(run: &Run) {
    let written = lock(&run.history_write).take();
    if let Some(written) = written {
        // Whoever waits for a shutdown may do so outside of a runtime, where there are no timers.
        let waiting = {
            let _runtime = run.runtime.enter();
            timeout(WRITE_TIMEOUT, written)
        };
        // What went wrong was logged; one that hangs is left behind.
        let _ = waiting.await;
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const READ_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
