//! What happened in a schedule, as a hash always and as text when somebody wants to read it.

use std::fmt::{self, Write};

use crate::hash::KeyHasher;

#[derive(Debug)]
pub(super) struct Trace {
    hash: KeyHasher,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep_lines: bool) -> Self {
        Self {
            hash: KeyHasher::new(0),
            events: 0,
            lines: keep_lines.then(Vec::new),
        }
    }

    /// Notes an event; gives its number, which orders all events of the schedule.
    pub(super) fn note(&mut self, at_ms: u64, event: fmt::Arguments<'_>) -> u64 {
        self.events += 1;
        let _ = writeln!(self.hash, "{at_ms} {event}");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{at_ms:>7} ms  {event}"));
        }
        self.events
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
