//! How the pool's own reasons for a failed transaction travel inside an error of diesel, and are recognised there.

use std::fmt;

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

/// Why a transaction failed, where neither its closure nor a statement is to blame.
///
/// It reaches the caller as an error of diesel, so that the error type of a closure needs no conversion of its own;
/// [`of`](Self::of) recognises it.
///
/// ```
/// use db_pool::TransactionError;
///
/// fn may_have_happened(error: &diesel::result::Error) -> bool {
///     TransactionError::of(error) == Some(TransactionError::CommitUnknown)
/// }
/// # assert!(!may_have_happened(&diesel::result::Error::NotFound));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// `COMMIT` was sent and never answered: it may have taken effect. Read what is stored before trying again.
    #[error(
        "the connection was lost during COMMIT; whether the transaction took effect is unknown"
    )]
    CommitUnknown,
    /// `TransactionOptions::timeout` passed before `COMMIT` was sent; the transaction is rolled back.
    #[error("the transaction did not end within its timeout and is rolled back")]
    TimedOut,
    /// A hook could not prepare for the commit; the transaction was rolled back.
    #[error("a hook refused the commit; the transaction was rolled back")]
    Refused,
}

impl TransactionError {
    /// Recognises such an error; `None` for any other.
    pub fn of(error: &Error) -> Option<Self> {
        let Error::DatabaseError(_, information) = error else {
            return None;
        };
        let marker = information.details()?;
        [Self::CommitUnknown, Self::TimedOut, Self::Refused]
            .into_iter()
            .find(|known| known.marker() == marker)
    }

    /// As an error of diesel, whose text ends with the cause.
    pub(super) fn because(self, cause: impl fmt::Display) -> Error {
        // Whoever knows diesel only takes a lost COMMIT for what it is, a lost connection.
        let kind = match self {
            Self::CommitUnknown => DatabaseErrorKind::ClosedConnection,
            Self::TimedOut | Self::Refused => DatabaseErrorKind::Unknown,
        };
        let text = format!("{self}: {cause}");
        Error::DatabaseError(kind, Box::new(Carried { what: self, text }))
    }

    fn marker(self) -> &'static str {
        match self {
            Self::CommitUnknown => "db_pool::TransactionError::CommitUnknown",
            Self::TimedOut => "db_pool::TransactionError::TimedOut",
            Self::Refused => "db_pool::TransactionError::Refused",
        }
    }
}

/// What diesel carries.
struct Carried {
    what: TransactionError,
    text: String,
}

impl DatabaseErrorInformation for Carried {
    fn message(&self) -> &str {
        &self.text
    }

    fn details(&self) -> Option<&str> {
        Some(self.what.marker())
    }

    fn hint(&self) -> Option<&str> {
        None
    }

    fn table_name(&self) -> Option<&str> {
        None
    }

    fn column_name(&self) -> Option<&str> {
        None
    }

    fn constraint_name(&self) -> Option<&str> {
        None
    }

    fn statement_position(&self) -> Option<i32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_recognised_inside_an_error_of_diesel_and_nothing_else_is() {
        for known in [
            TransactionError::CommitUnknown,
            TransactionError::TimedOut,
            TransactionError::Refused,
        ] {
            let error = known.because("cause");
            assert_eq!(TransactionError::of(&error), Some(known));
            assert_eq!(error.to_string(), format!("{known}: cause"));
        }
        assert_eq!(TransactionError::of(&Error::NotFound), None);
        let other = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(String::new()));
        assert_eq!(TransactionError::of(&other), None);
    }
}
