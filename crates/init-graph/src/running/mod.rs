//! The started graph as its user holds it: the one who may stop it, and handles for everybody else.

mod handle;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

pub use self::handle::Handle;
use crate::error::StopError;
use crate::exec::{Starter, Walk};
use crate::report::StopReport;
use crate::run::Run;
use crate::stop;

/// A graph that has started.
///
/// What can be asked of it and done with it, apart from stopping it, is on [`Handle`], to which this dereferences; take
/// a [`handle`](Handle::handle) where the rest of a service needs it.
///
/// Stop it with [`shutdown`](Self::shutdown) or [`run_until`](Self::run_until). Dropping it instead cancels the tokens
/// of [`Context::cancelled`](crate::Context::cancelled), drops what still starts and lets go of the values, but runs no
/// stop hooks, since a drop cannot wait for them; it logs a warning when there were any.
#[must_use = "dropping it runs no stop hooks"]
pub struct Running {
    handle: Handle,
    /// Of the start; kept for components that start on demand.
    _walk: Arc<Walk<Starter>>,
    /// Whether a shutdown has taken over.
    stops: bool,
}

impl Running {
    pub(crate) fn new(run: Arc<Run>, walk: Arc<Walk<Starter>>, took: Duration) -> Self {
        // Set once, since there is one start of a run.
        run.life.took.get_or_init(|| took);
        Self {
            _walk: walk,
            handle: Handle::new(run),
            stops: false,
        }
    }

    /// Stops every node as soon as all of its dependents have stopped, in parallel: cancels its token, runs its stop
    /// hooks, last registered first, and lets go of its value.
    ///
    /// The order is the reverse of how things really started: what a [`Lazy`](crate::Lazy) started later stops before
    /// the component that asked for it. What still starts in the background is dropped first, and a restart ends
    /// after the hooks that it is running, which have a stop timeout of their own.
    ///
    /// Every hook is begun, even if others failed. The whole takes no longer than
    /// [`Graph::stop_timeout`](crate::Graph::stop_timeout); then hooks that still wait are dropped, and those not yet
    /// begun get one chance to end without waiting. Code that blocks its thread is waited for a second longer, and then
    /// named as abandoned. Dropping the returned future does not interrupt the stop.
    ///
    /// # Errors
    /// [`StopError`] with the full report when any hook failed, panicked or ran out of time.
    pub async fn shutdown(mut self) -> Result<StopReport, StopError> {
        self.stops = true;
        let run = Arc::clone(self.handle.run());
        let limit = run.settings.stop_timeout;
        let report = stop::spawn(Arc::clone(&run), limit).await;
        crate::history::written(&run).await;
        if report.is_clean() {
            Ok(report)
        } else {
            Err(StopError::new(report))
        }
    }

    /// Stops in the background, for when nobody is there to wait; errors go to the log.
    pub(crate) fn shutdown_detached(mut self) {
        self.stops = true;
        let run = Arc::clone(self.handle.run());
        let limit = run.settings.stop_timeout;
        stop::spawn_detached(run, limit);
    }
}

impl Deref for Running {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stops {
            return;
        }
        let hooks = self.handle.run().let_go();
        if hooks > 0 {
            tracing::warn!(
                hooks,
                "running graph dropped without shutdown; its stop hooks do not run"
            );
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("took", &self.handle.took())
            .finish_non_exhaustive()
    }
}
