//! What a transaction may ask for.

use std::time::Duration;

/// How isolated a transaction is from others. SQLite is always serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isolation {
    /// Every statement sees what was committed before it began.
    ReadCommitted,
    /// All statements see one snapshot; writing what another transaction changed fails and is tried again.
    RepeatableRead,
    /// As if transactions ran one after another; what cannot be fitted in fails and is tried again.
    Serializable,
}

/// What a transaction asks for; the default leaves everything to the database and tries five times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionOptions {
    /// PostgreSQL: the isolation level; `None` is the server's default, usually read committed.
    pub isolation: Option<Isolation>,
    /// Writing fails. SQLite then runs the transaction on a reader connection, beside the writer.
    pub read_only: bool,
    /// PostgreSQL, serializable and read-only only: wait for a moment at which the transaction cannot fail.
    pub deferrable: bool,
    /// How often the closure is run at most when others are in the way: a serialization failure, a deadlock, a busy
    /// SQLite file, a plan made stale by a migration. Default 5; 0 and 1 both mean once.
    ///
    /// Danger: whatever the closure does beside its statements happens that often as well. Of all transactions of a
    /// pool at most one in ten is run again, so that retries do not make an overload worse.
    pub max_attempts: u32,
    /// The longest that all attempts together may take, borrowing included. Default `None`: no limit of its own.
    ///
    /// A `COMMIT` that was sent is not given up for it. Afterwards the caller gets
    /// [`TransactionError::TimedOut`](crate::TransactionError::TimedOut), and the connection is repaired in the
    /// background.
    pub timeout: Option<Duration>,
    /// PostgreSQL: ask where the commit lies in the write-ahead log. Default `false`; pools of
    /// [`Replicas`](crate::Replicas) always do.
    ///
    /// The question travels behind `COMMIT` and costs no round trip. The current [`Scope`](crate::Scope) and the
    /// hooks learn the answer. A transaction that is not `read_only` is taken for one that wrote.
    pub track_lsn: bool,
    /// PostgreSQL: find out what became of a `COMMIT` that was not answered. Default `false`.
    ///
    /// Cost: one round trip before each `COMMIT`, for the number of the transaction. Only where the server cannot be
    /// asked any more is the outcome still unknown.
    pub resolve_commit: bool,
}

impl TransactionOptions {
    /// A transaction that only reads, from one snapshot.
    pub fn read_only() -> Self {
        Self {
            isolation: Some(Isolation::RepeatableRead),
            read_only: true,
            ..Self::default()
        }
    }

    /// A serializable transaction.
    pub fn serializable() -> Self {
        Self {
            isolation: Some(Isolation::Serializable),
            ..Self::default()
        }
    }
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            isolation: None,
            read_only: false,
            deferrable: false,
            max_attempts: 5,
            timeout: None,
            track_lsn: false,
            resolve_commit: false,
        }
    }
}
