//! The shared invalidation log as the rest of the crate sees it; Redis keeps it in service, a script in
//! the simulation.

use std::{fmt::Debug, time::Duration};

use futures_util::future::BoxFuture;

use super::{Effect, Target, Version};
use crate::error::BoxError;

/// The identity of a log: after a flush, restore or failover there is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch {
    /// Drawn when the log began, and when a reader found that it may have lost entries.
    pub(crate) id: u64,
    /// The run of the server that answered.
    pub(crate) run: u64,
}

/// Up to where a log was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    pub(crate) version: Version,
}

/// One entry of the log: everything that one call invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) version: Version,
    /// The process that wrote it.
    pub(crate) by: u64,
    pub(crate) changes: Vec<(Target, Effect)>,
}

/// What a read of the log gave, all of it as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) epoch: Epoch,
    /// Entries up to this version were trimmed and cannot be replayed.
    pub(crate) trimmed: Version,
    /// The last version given out. When fewer `records` came than were asked for, there is no other
    /// record up to this version: the reader takes it as its position.
    pub(crate) last: Version,
    /// In order, all of them after the asked version; at most as many as were asked for.
    pub(crate) records: Vec<Record>,
}

/// Why the log gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("the log cannot be reached")]
    Unavailable,
    #[error("the log did not answer in time")]
    TimedOut,
    #[error("the log failed")]
    Failed(#[source] BoxError),
}

/// What the log answers, some time.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, LogError>>;

/// The last invalidation of a target.
pub(crate) type Floor = (Target, Effect, Version);

/// A batch on record: its number, and the bytes of its changes.
pub(crate) type Intent = (u64, Vec<u8>);

/// The shared log. Every await inside has a deadline.
pub(crate) trait Log: Debug + Send + Sync + 'static {
    /// Appends one record and returns its version. After an error the record may be there or not:
    /// appending it again is harmless.
    fn append<'a>(&'a self, changes: &'a [(Target, Effect)]) -> Answer<'a, Version>;

    /// The records after `after`, at most `limit`; waits up to `wait` for one if there are none.
    fn read(&self, after: Version, limit: usize, wait: Duration) -> Answer<'_, Page>;

    /// The last floor of every tag and cache that was ever invalidated (bounded; what was forgotten is
    /// the floor of `Target::All` for tagged entries), for a process that was not there.
    fn floors(&self) -> Answer<'_, Vec<Floor>>;

    /// Begins a new epoch if the one in force is `old` or was begun under another run of the server;
    /// returns the one in force then. A new epoch may begin with an empty log. No version up to `above`
    /// is given out any more.
    fn renew(&self, old: Epoch, above: Version) -> Answer<'_, Epoch>;

    /// Puts an intent on record that is due in `due`; again under the same number replaces it. The
    /// bytes are the ledger's own.
    fn prepare<'a>(&'a self, intent: u64, changes: &'a [u8], due: Duration) -> Answer<'a, ()>;

    /// Takes an intent off the record, if it is there.
    fn complete(&self, intent: u64) -> Answer<'_, ()>;

    /// A few of the intents that are past their time; each will be appended, then completed.
    fn overdue(&self) -> Answer<'_, Vec<Intent>>;
}
