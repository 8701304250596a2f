//! What a failed statement means for its caller: try again, wait, give up, or use another server.
//!
//! diesel-async keeps the SQLSTATE of a few errors only; the rest is recognised by the server's message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error};

/// What a failed statement means, whatever the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Two transactions were in each other's way (40001): run the whole transaction again.
    Serialization,
    /// Two transactions waited for each other (40P01): run the whole transaction again.
    Deadlock,
    /// SQLite: another connection writes: run the whole transaction again.
    Busy,
    /// `statement_timeout` ended the statement (57014); the connection is fine.
    StatementTimeout,
    /// The statement was cancelled on request (57014); the connection is fine.
    Cancelled,
    /// A lock was not granted in time (55P03, or 57014 by `lock_timeout`); the connection is fine.
    LockTimeout,
    /// The connection is gone, and perhaps all others with it.
    ConnectionLost,
    /// The server is starting up, shutting down or recovering (57P01, 57P02, 57P03).
    NotReady,
    /// The server has no connection slot left (53300).
    TooManyConnections,
    /// The server only reads (25006): it is no primary any more, or the transaction is read-only.
    ReadOnly,
    /// An earlier statement of the transaction failed (25P02): roll back.
    TransactionAborted,
    /// The schema changed under a cached plan (0A000): a fresh connection plans anew.
    StalePlan,
    /// A prepared statement is missing or doubled (26000, 42P05): something pools connections in between.
    PreparedStatementLost,
    /// A unique, foreign-key, not-null, check or exclusion constraint refused the row.
    Constraint,
    /// The disk is full.
    DiskFull,
    /// The SQLite file is damaged or no database.
    Corrupt,
    /// Anything else; the statement itself is usually wrong.
    Other,
}

/// The last failure of a connection, for whoever decides what to do about it without seeing the error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<ErrorClass>>>);

impl Failure {
    /// Passes `result` on and keeps what its error means, unless that is only that an earlier one counts.
    pub(crate) fn note<R>(&self, result: QueryResult<R>) -> QueryResult<R> {
        if let Err(error) = &result {
            let class = ErrorClass::of(error);
            if class != ErrorClass::TransactionAborted {
                *self.lock() = Some(class);
            }
        }
        result
    }

    pub(crate) fn take(&self) -> Option<ErrorClass> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<ErrorClass>> {
        // Nothing panics under the lock, so a poisoned one protects as well.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ErrorClass {
    /// The class of an error of diesel.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => Self::Serialization,
            Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => Self::ReadOnly,
            Error::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                _,
            ) => Self::ConnectionLost,
            _ => Self::Other,
        }
    }

    /// Whether the same transaction may well succeed when it is run again from its beginning.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Serialization | Self::Deadlock | Self::Busy)
    }
}
