//! The one place where all statements of one connection pass: it measures them and hears what they write.

use std::panic::Location;
use std::sync::Arc;

use diesel::connection::{Instrumentation, InstrumentationEvent};

#[cfg(not(feature = "query-cache"))]
use super::unfollowed::Writes;
#[cfg(feature = "query-cache")]
use crate::cache::Writes;
use crate::shared::Shared;

/// Hears every statement of one connection; shared between the connection and whoever lends it.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    writes: Writes,
}

/// In what state a connection came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// Nothing was open or running, or it was finished and rolled back.
    Settled,
    /// It is closed, and nobody knows what became of its last statement.
    Unknown,
}

impl Recorder {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        let writes = Writes::of(&shared);
        Arc::new(Self { shared, writes })
    }

    /// Called when the connection is lent.
    pub(crate) fn lend(&self, _at: &'static Location<'static>) {}

    /// Called when it is ready for the next borrower, or closed.
    pub(crate) fn returned(&self, how: Returned) {
        self.writes.returned(how);
    }

    fn event(&self, event: &InstrumentationEvent<'_>) {
        self.writes.event(event);
        if let InstrumentationEvent::FinishQuery {
            error: Some(error), ..
        } = event
        {
            tracing::trace!(pool = %self.shared.config.name, %error, "statement failed");
        }
    }
}

/// The recorder's ear on a connection.
pub(crate) struct Tap(pub(crate) Arc<Recorder>);

impl Instrumentation for Tap {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        self.0.event(&event);
    }
}
