//! What a failed statement means for its caller: try again, wait, give up, or use another server.
//!
//! diesel-async keeps the SQLSTATE of a few errors only; the rest is recognised by the server's message.

#[cfg(feature = "sqlite")]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(feature = "sqlite")]
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
#[cfg(feature = "sqlite")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<ErrorClass>>>);

#[cfg(feature = "sqlite")]
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
    ///
    /// Texts are those of a server that speaks English, as nearly all do: `lc_messages` is the administrator's.
    pub fn of(error: &Error) -> Self {
        let Error::DatabaseError(kind, information) = error else {
            return Self::Other;
        };
        match kind {
            DatabaseErrorKind::SerializationFailure => Self::Serialization,
            DatabaseErrorKind::ReadOnlyTransaction => Self::ReadOnly,
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => Self::Constraint,
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
                match Self::of_text(information.message()) {
                    Self::NotReady => Self::NotReady,
                    _ => Self::ConnectionLost,
                }
            }
            _ => Self::of_text(information.message()),
        }
    }

    /// Whether the same transaction may well succeed when it is run again from its beginning.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Serialization | Self::Deadlock | Self::Busy)
    }

    /// Whether the connection is gone, so that nobody knows what became of what was sent: after `COMMIT`, whether it
    /// took effect.
    pub fn is_connection_gone(self) -> bool {
        matches!(self, Self::ConnectionLost | Self::NotReady)
    }

    /// The class by PostgreSQL's code, which says it in any language where the code says enough.
    #[cfg(feature = "postgres")]
    pub(crate) fn of_server(code: &str, message: &str, routine: &str) -> Self {
        match code {
            "40001" => Self::Serialization,
            "40P01" => Self::Deadlock,
            "55P03" => Self::LockTimeout,
            "57P01" | "57P02" | "57P03" => Self::NotReady,
            "57P05" | "25P03" | "25P04" => Self::ConnectionLost,
            "53300" => Self::TooManyConnections,
            "25006" => Self::ReadOnly,
            "25P02" => Self::TransactionAborted,
            "26000" | "42P05" => Self::PreparedStatementLost,
            "53100" => Self::DiskFull,
            "0A000" if routine == STALE_PLAN_ROUTINE => Self::StalePlan,
            "57014" => match Self::of_text(message) {
                Self::Other => Self::Cancelled,
                told => told,
            },
            "0A000" => Self::of_text(message),
            _ if code.starts_with("23") => Self::Constraint,
            _ if code.starts_with("08") => Self::ConnectionLost,
            _ => Self::Other,
        }
    }

    fn of_text(text: &str) -> Self {
        let found = TEXTS.iter().find(|(part, _)| text.contains(part));
        match found {
            Some((_, class)) => *class,
            // Its number stands between the two halves.
            None if text.contains("prepared statement \"")
                && (text.contains("does not exist") || text.contains("already exists")) =>
            {
                Self::PreparedStatementLost
            }
            None => Self::Other,
        }
    }
}

/// Which function of PostgreSQL refuses a plan whose columns have changed.
#[cfg(feature = "postgres")]
const STALE_PLAN_ROUTINE: &str = "RevalidateCachedQuery";

/// Parts of messages: PostgreSQL's first, then SQLite's.
const TEXTS: &[(&str, ErrorClass)] = &[
    ("could not serialize access", ErrorClass::Serialization),
    ("deadlock detected", ErrorClass::Deadlock),
    ("due to statement timeout", ErrorClass::StatementTimeout),
    ("due to lock timeout", ErrorClass::LockTimeout),
    ("due to user request", ErrorClass::Cancelled),
    ("could not obtain lock", ErrorClass::LockTimeout),
    ("due to administrator command", ErrorClass::NotReady),
    (
        "because of crash of another server process",
        ErrorClass::NotReady,
    ),
    ("due to unexpected postmaster exit", ErrorClass::NotReady),
    ("the database system is", ErrorClass::NotReady),
    ("due to idle-session timeout", ErrorClass::ConnectionLost),
    (
        "due to idle-in-transaction timeout",
        ErrorClass::ConnectionLost,
    ),
    ("due to transaction timeout", ErrorClass::ConnectionLost),
    ("due to conflict with recovery", ErrorClass::Serialization),
    ("too many clients already", ErrorClass::TooManyConnections),
    ("too many connections", ErrorClass::TooManyConnections),
    (
        "remaining connection slots are reserved",
        ErrorClass::TooManyConnections,
    ),
    ("in a read-only transaction", ErrorClass::ReadOnly),
    (
        "current transaction is aborted",
        ErrorClass::TransactionAborted,
    ),
    (
        "cached plan must not change result type",
        ErrorClass::StalePlan,
    ),
    ("No space left on device", ErrorClass::DiskFull),
    ("database is locked", ErrorClass::Busy),
    ("database table is locked", ErrorClass::Busy),
    ("database schema is locked", ErrorClass::Busy),
    ("database or disk is full", ErrorClass::DiskFull),
    ("database disk image is malformed", ErrorClass::Corrupt),
    ("file is not a database", ErrorClass::Corrupt),
    ("disk I/O error", ErrorClass::Corrupt),
    ("attempt to write a readonly database", ErrorClass::ReadOnly),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: DatabaseErrorKind, text: &str) -> ErrorClass {
        ErrorClass::of(&Error::DatabaseError(kind, Box::new(text.to_owned())))
    }

    #[test]
    fn what_no_test_can_provoke_is_known_by_its_text() {
        use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand, Unknown};
        for (kind, text, class) in [
            (
                Unknown,
                "the database system is starting up",
                ErrorClass::NotReady,
            ),
            (
                Unknown,
                "sorry, too many clients already",
                ErrorClass::TooManyConnections,
            ),
            (
                Unknown,
                "prepared statement \"s3\" already exists",
                ErrorClass::PreparedStatementLost,
            ),
            (
                Unknown,
                "could not extend file: No space left on device",
                ErrorClass::DiskFull,
            ),
            (
                Unknown,
                "database disk image is malformed",
                ErrorClass::Corrupt,
            ),
            (Unknown, "syntax error", ErrorClass::Other),
            (
                UnableToSendCommand,
                "connection closed",
                ErrorClass::ConnectionLost,
            ),
            (
                ClosedConnection,
                "terminating connection due to administrator command (SQLSTATE 57P01)",
                ErrorClass::NotReady,
            ),
        ] {
            assert_eq!(of(kind, text), class, "{text}");
        }
        assert_eq!(ErrorClass::of(&Error::NotFound), ErrorClass::Other);
    }
}
