//! The text of server-sent events, apart because the format is easy to get subtly wrong.

use std::fmt::Display;

/// Tells the browser to come back after a second; sent once, first.
pub(super) const RETRY: &str = "retry: 1000\n\n";

/// A comment: no event for the reader, but bytes on the wire.
pub(super) const HEARTBEAT: &str = ": heartbeat\n\n";

/// One event. `data` is compact JSON, which has no line break that would end the field.
pub(super) fn event(name: &str, id: &impl Display, data: &str) -> String {
    debug_assert!(
        !data.contains(['\n', '\r']),
        "a line break would cut the event"
    );
    format!("event: {name}\nid: {id}\ndata: {data}\n\n")
}
