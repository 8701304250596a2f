//! The flag by which a caller, or Ctrl-C, ends a run early; what was measured until then is kept.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Sets the flag on SIGINT and SIGTERM instead of ending the process. A second signal ends it at once.
    ///
    /// # Errors
    /// If the operating system refuses the handlers.
    pub fn on_signals(&self) -> io::Result<()> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the first signal finds the flag unset, so only the second one ends the process.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&self.flag))?;
            signal_hook::flag::register(signal, Arc::clone(&self.flag))?;
        }
        Ok(())
    }
}
