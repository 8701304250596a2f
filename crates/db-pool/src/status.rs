//! A snapshot of a pool that prints well.

use std::fmt;

use serde::Serialize;

use crate::observe::Usage;
use crate::registry::Holder;
use crate::url::BackendKind;

/// The state of a pool at one moment; the numbers may be a moment apart from each other.
///
/// Prints as one line; `{:#}` adds lines that say who holds connections and what takes time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The pool's name.
    pub name: String,
    /// `sqlite` or `postgres`.
    pub backend: &'static str,
    /// The most connections that there may be.
    pub max_size: u32,
    /// Open connections.
    pub size: usize,
    /// Open connections that nobody uses.
    pub idle: usize,
    /// Borrowed connections, those being repaired included.
    pub in_use: usize,
    /// Connections being repaired after their borrower vanished.
    pub recovering: usize,
    /// Connections that are being opened; they are not part of `size`.
    pub connecting: usize,
    /// Callers waiting for a connection.
    pub waiting: usize,
    /// Connections borrowed since the start.
    pub acquired_total: u64,
    /// Borrowing that ran out of time since the start.
    pub timeouts_total: u64,
    /// Connections opened since the start.
    pub connects_total: u64,
    /// Connections that could not be opened since the start.
    pub connect_failures_total: u64,
    /// Abandoned connections repaired since the start.
    pub recovered_total: u64,
    /// Abandoned connections closed since the start.
    pub discarded_total: u64,
    /// Connections told as leaks since the start.
    pub leaks_total: u64,
    /// Why the last attempt to connect failed; `None` after a success.
    pub last_connect_error: Option<String>,
    /// Who holds connections, the longest first; at most sixteen.
    pub holders: Vec<Holder>,
    /// What borrowing, holding and statements have cost.
    pub usage: Usage,
    /// Whether the pool is suspended.
    pub suspended: bool,
    /// Whether the pool is closed.
    pub closed: bool,
}

impl Status {
    pub(crate) fn kind(kind: BackendKind) -> &'static str {
        kind.as_str()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            backend,
            max_size,
            size,
            idle,
            in_use,
            recovering,
            waiting,
            ..
        } = self;
        write!(
            f,
            "{name} ({backend}): {size} of {max_size} open, {idle} idle, {in_use} in use"
        )?;
        if *recovering > 0 {
            write!(f, " ({recovering} recovering)")?;
        }
        if self.connecting > 0 {
            write!(f, ", {} connecting", self.connecting)?;
        }
        write!(f, ", {waiting} waiting; {} acquired", self.acquired_total)?;
        for (count, what) in [
            (self.timeouts_total, "timed out"),
            (self.connect_failures_total, "connects failed"),
            (self.recovered_total, "recovered"),
            (self.discarded_total, "discarded"),
            (self.leaks_total, "leaked"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let Some(error) = &self.last_connect_error {
            write!(f, "; connecting fails: {error}")?;
        }
        f.write_str(match (self.closed, self.suspended) {
            (true, _) => "; closed",
            (false, true) => "; suspended",
            (false, false) => "",
        })?;
        if f.alternate() {
            for holder in &self.holders {
                write!(f, "\n  held now  #{} at {holder}", holder.connection)?;
            }
            self.usage.fmt_lines(f)?;
        }
        Ok(())
    }
}
