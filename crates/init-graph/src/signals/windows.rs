//! The events that end a service on Windows.

use std::future::pending;
use std::io;

use tokio::signal::windows::{CtrlC, CtrlClose, CtrlShutdown, ctrl_c, ctrl_close, ctrl_shutdown};

pub(super) struct Signals {
    ctrl_c: CtrlC,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    /// Hears them from now on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            ctrl_c: ctrl_c()?,
            close: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// The name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        let (name, heard) = tokio::select! {
            heard = self.ctrl_c.recv() => ("Ctrl-C", heard),
            heard = self.close.recv() => ("close", heard),
            heard = self.shutdown.recv() => ("shutdown", heard),
        };
        match heard {
            Some(()) => name,
            // No more can come, which is no event.
            None => pending().await,
        }
    }
}
