//! SIGTERM and Ctrl-C: the first asks the process to stop, the second ends it at once.

use std::{io, process::ExitCode};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Both signals, from the moment this exists.
#[derive(Debug)]
pub(super) struct Signals {
    arrived: mpsc::Receiver<u8>,
}

impl Signals {
    /// Takes over both signals.
    ///
    /// # Errors
    ///
    /// The system refuses a handler.
    pub(super) fn install() -> io::Result<Self> {
        let (sender, arrived) = mpsc::channel(2);
        listen(&sender)?;
        Ok(Self { arrived })
    }

    /// Cancels `stop` at the first signal and returns at the second, with the code that shells use
    /// for a process that a signal ended.
    pub(super) async fn second(mut self, stop: CancellationToken) -> ExitCode {
        let first = self.arrived.recv().await;
        tracing::info!(
            signal = first,
            "stopping; once more ends the process at once"
        );
        stop.cancel();
        match self.arrived.recv().await {
            Some(signal) => ExitCode::from(128 + signal),
            // The sender lives as long as the runtime.
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
fn listen(sender: &mpsc::Sender<u8>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut arrivals = signal(kind)?;
        let sender = sender.clone();
        let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() && sender.send(number).await.is_ok() {}
        });
    }
    Ok(())
}

#[cfg(not(unix))]
fn listen(sender: &mpsc::Sender<u8>) -> io::Result<()> {
    const INTERRUPT: u8 = 2;
    let sender = sender.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() && sender.send(INTERRUPT).await.is_ok() {}
    });
    Ok(())
}
