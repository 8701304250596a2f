//! The signals that end a service on Unix.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Hears them from now on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        let (name, heard) = tokio::select! {
            heard = self.terminate.recv() => ("SIGTERM", heard),
            heard = self.interrupt.recv() => ("SIGINT", heard),
        };
        match heard {
            Some(()) => name,
            // No more can come, which is no signal.
            None => pending().await,
        }
    }
}
