//! What can go wrong when a monitor is built; nothing can go wrong later.

/// Why a [`Monitor`](crate::Monitor) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The process already has a global `metrics` recorder.
    #[error(
        "a global metrics recorder is already installed: install the monitor once, first thing in `main`"
    )]
    AlreadyInstalled,
    /// `Monitor::install` was called outside of a tokio runtime.
    #[error(
        "no tokio runtime here for the background tasks: call `Monitor::install` inside of one"
    )]
    NoRuntime,
    /// A field of the configuration has a value that cannot work.
    #[error("invalid monitor configuration: {field} = {value}, expected {expected}")]
    Config {
        /// The name of the field.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
}

impl MonitorError {
    /// Whether a recorder was there before.
    #[must_use]
    pub fn is_already_installed(&self) -> bool {
        matches!(self, Self::AlreadyInstalled)
    }
}
