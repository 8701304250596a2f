//! From start to stop by signals: what the main function of a service usually does.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::pin::pin;

use tokio_util::sync::CancellationToken;
use tracing::info;

#[cfg(unix)]
use self::unix::Signals;
#[cfg(windows)]
use self::windows::Signals;
use crate::graph::Graph;
use crate::report::StopReport;
use crate::run_until::RunError;

impl Graph {
    /// Starts the graph, waits for SIGTERM or Ctrl-C (on Windows also for the console to close and the system to shut
    /// down), and shuts it down.
    ///
    /// A signal during the start gives the start up: what has started is stopped again. A second signal cuts the stop
    /// short: hooks that wait are dropped, the others get one chance to end without waiting, and all that did not end
    /// is named. A failure in the background ends the run as in [`Running::run_until`](crate::Running::run_until).
    ///
    /// ```no_run
    /// # async fn app() -> init_graph::Graph { init_graph::Graph::new() }
    /// use std::process::ExitCode;
    ///
    /// #[tokio::main]
    /// async fn main() -> ExitCode {
    ///     match app().await.run_until_shutdown().await {
    ///         Ok(_) => ExitCode::SUCCESS,
    ///         Err(error) if error.is_cancelled() => ExitCode::SUCCESS,
    ///         Err(error) => {
    ///             eprintln!("{error}");
    ///             ExitCode::FAILURE
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RunError`] says what went wrong; [`RunError::is_cancelled`] when a signal came during the start and all was
    /// stopped well.
    pub async fn run_until_shutdown(mut self) -> Result<StopReport, RunError> {
        // Before anything starts, so that no signal of the start is missed.
        let mut signals = Signals::new().map_err(RunError::Signals)?;
        let (cancel, hurry) = (CancellationToken::new(), CancellationToken::new());
        self.cancel_on(cancel.clone());
        self.settings.hurry = hurry.clone();
        let mut start = pin!(self.start());
        let started = tokio::select! {
            biased;
            started = &mut start => started,
            () = noted(&mut signals) => {
                cancel.cancel();
                tokio::select! {
                    biased;
                    started = &mut start => started,
                    () = noted(&mut signals) => {
                        hurry.cancel();
                        start.await
                    }
                }
            }
        };
        let running = started.map_err(RunError::Start)?;
        let signals = tokio::sync::Mutex::new(signals);
        let one = async || noted(&mut *signals.lock().await).await;
        if cancel.is_cancelled() {
            // The signal came just as the start succeeded.
            return running.run(std::future::ready(()), one()).await;
        }
        running.run(one(), one()).await
    }
}

async fn noted(signals: &mut Signals) {
    let signal = signals.next().await;
    info!(signal, "signal");
}
