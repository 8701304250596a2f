//! The started graph: its values, the report of the start and the way to stop it.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dep::Dep;
use crate::error::StopError;
use crate::exec::{Starter, Walk};
use crate::plan::Plan;
use crate::report::{Report, StopReport};
use crate::run::Run;
use crate::stop;

/// A graph in which everything is ready.
///
/// Stop it with [`shutdown`](Self::shutdown). Dropping it instead cancels the tokens of
/// [`Context::cancelled`](crate::Context::cancelled) and lets go of the values, but runs no stop hooks, since a drop
/// cannot wait for them; it logs a warning when there were any.
#[must_use = "dropping it runs no stop hooks"]
pub struct Running {
    /// `None` once a shutdown has taken over.
    run: Option<Arc<Run>>,
    /// Kept for what starts later: in the background and by `Lazy`.
    walk: Arc<Walk<Starter>>,
    report: Report,
    stop_timeout: Duration,
}

impl Running {
    pub(crate) fn new(run: Arc<Run>, walk: Arc<Walk<Starter>>, took: Duration) -> Self {
        let report = run.report(took);
        let stop_timeout = run.settings.stop_timeout;
        Self {
            run: Some(run),
            walk,
            report,
            stop_timeout,
        }
    }

    /// The value of type `T`; `None` when no component provides it, or an optional one fell away.
    pub fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Dep<T>> {
        let run = self.run.as_ref()?;
        let offer = run.providers.get(&TypeId::of::<T>())?.first()?;
        run.value(offer.node, offer.view).map(Dep::new)
    }

    /// How the start went.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What was started.
    pub fn plan(&self) -> &Plan {
        &self
            .run
            .as_ref()
            .expect("only `shutdown`, which consumes `self`, takes the run")
            .core
            .plan
    }

    /// Stops every node as soon as all of its dependents have stopped, in parallel: cancels its token, runs its stop
    /// hooks, last registered first, and lets go of its value.
    ///
    /// Every hook is begun, even if others failed. The whole takes no longer than
    /// [`Graph::stop_timeout`](crate::Graph::stop_timeout); then hooks that still wait are dropped, and those not yet
    /// begun get one chance to end without waiting. Dropping the returned future does not interrupt the stop.
    ///
    /// # Errors
    /// [`StopError`] with the full report when any hook failed, panicked or ran out of time.
    pub async fn shutdown(mut self) -> Result<StopReport, StopError> {
        let run = self
            .run
            .take()
            .expect("only `shutdown`, which consumes `self`, takes the run");
        let report = stop::spawn(Arc::clone(&run), self.stop_timeout).await;
        crate::history::written(&run).await;
        if report.is_clean() {
            Ok(report)
        } else {
            Err(StopError::new(report))
        }
    }

    /// Stops in the background, for when nobody is there to wait; errors go to the log.
    pub(crate) fn shutdown_detached(mut self) {
        if let Some(run) = self.run.take() {
            stop::spawn_detached(run, self.stop_timeout);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.walk.visitor.closing.close();
        self.walk.visitor.closing.cut_off();
        run.core.given_up.cancel();
        let hooks = run.core.close_hooks();
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
            .field("took", &self.report.took())
            .finish_non_exhaustive()
    }
}
