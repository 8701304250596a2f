//! What can go wrong in the store, told apart by what the caller can do about it.

use std::error::Error;

use db_pool::{AcquireError, BackupError, MigrateError, OpenError};
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

/// A call to the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database could not be opened.
    #[error("the database could not be opened")]
    Open(#[from] OpenError),
    /// The schema could not be brought up to date.
    #[error("the schema of the database could not be brought up to date")]
    Migrate(#[from] MigrateError),
    /// The database cannot be used at this moment; trying again later may work.
    #[error("the database is not available at this moment")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Something with this identifier is stored already.
    #[error("something with this identifier is stored already")]
    Conflict(#[source] Box<DieselError>),
    /// A text contains U+0000, which cannot be stored; nothing was written.
    #[error("`{field}` contains the character U+0000, which cannot be stored")]
    InvalidText {
        /// The offending field.
        field: &'static str,
    },
    /// The database holds something that this service never wrote, or its file is damaged.
    #[error("the database holds a value that cannot be read; restore a backup or correct the row")]
    Corrupt(#[source] Box<dyn Error + Send + Sync>),
    /// The batches of an import ended without [`Batch::End`](crate::store::Batch::End); nothing was
    /// stored.
    #[error("the import ended before its last record, nothing was stored")]
    ImportEnded,
    /// No copy of the database could be taken.
    #[error("no copy of the database could be taken")]
    Backup(#[from] BackupError),
    /// The database refused a statement for another reason.
    #[error("the database refused a statement")]
    Backend(#[source] Box<DieselError>),
}

impl StoreError {
    /// Whether the same call may work later: no connection to be had, or the database is busy,
    /// stopping or gone.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        let lasting = || self.is_config() || self.is_corrupt() || self.is_read_only();
        match self {
            Self::Unavailable(_) => true,
            Self::Open(_)
            | Self::Migrate(MigrateError::Acquire(_) | MigrateError::Locked { .. }) => !lasting(),
            _ => false,
        }
    }

    /// Whether a setting is to blame.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_config())
    }

    /// Whether the SQLite file or its folder cannot be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Open(error) => error.is_read_only(),
            Self::Migrate(error) => chain_says(error, &READ_ONLY),
            Self::Backend(error) => chain_says(&**error, &READ_ONLY),
            _ => false,
        }
    }

    /// Whether stored data is damaged.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            Self::Open(error) => error.is_corrupt(),
            Self::Migrate(error) => chain_says(error, &CORRUPT),
            _ => false,
        }
    }

    /// A stored value that has no meaning here.
    pub(super) fn corrupt(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Corrupt(Box::new(error))
    }
}

impl From<AcquireError> for StoreError {
    fn from(error: AcquireError) -> Self {
        match &error {
            AcquireError::ConnectFailed { source, .. } if source.is_corrupt() => {
                Self::corrupt(error)
            }
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
                Self::Conflict(Box::new(error))
            }
            DieselError::DeserializationError(_) => Self::corrupt(error),
            DieselError::DatabaseError(kind, information) => match judge(kind, &**information) {
                Verdict::Unavailable => Self::Unavailable(Box::new(error)),
                Verdict::Corrupt => Self::corrupt(error),
                Verdict::Refused => Self::Backend(Box::new(error)),
            },
            DieselError::BrokenTransactionManager => Self::Unavailable(Box::new(error)),
            _ => Self::Backend(Box::new(error)),
        }
    }
}

enum Verdict {
    Unavailable,
    Corrupt,
    Refused,
}

/// Sorts what the drivers report without a code of its own: they keep neither SQLSTATE nor SQLite's
/// result code, only the message.
fn judge(kind: &DatabaseErrorKind, information: &dyn DatabaseErrorInformation) -> Verdict {
    let message = information.message();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    match kind {
        DatabaseErrorKind::UnableToSendCommand
        | DatabaseErrorKind::ClosedConnection
        | DatabaseErrorKind::ReadOnlyTransaction
        | DatabaseErrorKind::SerializationFailure => Verdict::Unavailable,
        _ if says(&UNAVAILABLE) => Verdict::Unavailable,
        _ if says(&CORRUPT) => Verdict::Corrupt,
        _ => Verdict::Refused,
    }
}

/// Whether an error or one of its causes says one of `texts`.
fn chain_says(error: &(dyn Error + 'static), texts: &[&str]) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.any(|error| {
        let message = error.to_string();
        texts.iter().any(|text| message.contains(text))
    })
}

const UNAVAILABLE: [&str; 8] = [
    "database is locked",
    "database table is locked",
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "deadlock detected",
    "terminating connection",
    "the database system is",
    "database or disk is full",
];
const CORRUPT: [&str; 2] = ["database disk image is malformed", "file is not a database"];
const READ_ONLY: [&str; 1] = ["attempt to write a readonly database"];

/// A change to one stored thing did not happen. `E` is the caller's own reason to refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError<E = std::convert::Infallible> {
    /// Nothing with this identifier is stored.
    #[error("nothing with this identifier is stored")]
    NotFound,
    /// The caller named another version than the stored one.
    #[error("the stored version is {current}, not the expected one")]
    VersionMismatch {
        /// The stored version.
        current: i64,
    },
    /// The caller's change refused.
    #[error("the change was refused")]
    Rejected(#[source] E),
    /// Others kept changing it; every one of a bounded number of attempts came too late.
    #[error("others kept changing it meanwhile; try again later")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl<E> From<StoreError> for UpdateError<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E> From<AcquireError> for UpdateError<E> {
    fn from(error: AcquireError) -> Self {
        Self::Store(error.into())
    }
}

impl<E> From<DieselError> for UpdateError<E> {
    fn from(error: DieselError) -> Self {
        Self::Store(error.into())
    }
}
