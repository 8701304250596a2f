//! The flag by which a caller, or Ctrl-C, ends a run early; what was measured until then is kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::server::process;

/// Ends a run early. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    parent: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another flag, which is set too when this one is.
    pub(crate) fn child(&self) -> Self {
        Self {
            flag: Arc::default(),
            parent: Some(Arc::clone(&self.flag)),
        }
    }

    /// Sets the flag, for ever: every run that holds a clone ends within a tenth of a second and reports what it has.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for an end.
    pub fn is_stopped(&self) -> bool {
        let parent = self.parent.iter();
        parent
            .chain([&self.flag])
            .any(|flag| flag.load(Ordering::Relaxed))
    }

    /// Sets the flag on SIGINT and SIGTERM instead of ending the process. A second signal ends it at once, with every
    /// [`Server`](crate::Server).
    ///
    /// # Errors
    /// If the operating system refuses the handlers or the thread that waits for signals.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let stop = self.clone();
        let wait = move || {
            for _ in signals.forever() {
                if stop.is_stopped() {
                    process::kill_all_and_exit(130);
                }
                stop.stop();
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(wait)?;
        Ok(())
    }
}
