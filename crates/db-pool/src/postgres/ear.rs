//! What a connection hears of its own statements, in front of everybody else.

use std::sync::Arc;

use diesel::connection::{Instrumentation, InstrumentationEvent};

use super::again::{is_in_reserve, refused};
use super::driver::State;
use super::statement::is_stale;

/// Counts statements under way, also those sent through `&AsyncPgConnection`, and passes events on.
pub(super) struct Ear<I> {
    pub(super) state: Arc<State>,
    pub(super) next: I,
}

impl<I: Instrumentation> Instrumentation for Ear<I> {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let wire = &self.state.wire;
        match &event {
            InstrumentationEvent::StartQuery { .. } => {
                if is_in_reserve() {
                    return;
                }
                wire.announce();
            }
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                // Sent again, it will finish once more.
                if error.is_some_and(|error| wire.is_healing() && is_stale(wire, error)) {
                    refused(query.to_string());
                    return;
                }
                wire.finished();
            }
            InstrumentationEvent::CacheQuery { .. } => wire.cached(),
            _ => {}
        }
        self.next.on_connection_event(event);
    }
}
