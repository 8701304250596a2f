//! One error type per kind of operation: configuration, opening a connection, opening a pool, borrowing.

use std::error::Error;
use std::fmt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::registry::Holder;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pool setting `{field}` = `{value}` {problem}")]
pub struct ConfigError {
    field: &'static str,
    value: String,
    problem: &'static str,
}

impl ConfigError {
    pub(crate) fn new(
        field: &'static str,
        value: impl fmt::Display,
        problem: &'static str,
    ) -> Self {
        Self {
            field,
            value: value.to_string(),
            problem,
        }
    }

    /// The name of the field in [`PoolConfig`](crate::PoolConfig).
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// Its value as text, without any password.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with it and what would work, for a message that names the setting in words of its own.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// `connect_timeout` passed: name resolution, TCP, TLS, login and set-up count together.
    TimedOut,
    /// Nothing answered: no such host, connection refused, network down.
    Unreachable,
    /// The server refused the user or the password.
    Authentication,
    /// The named database does not exist.
    NoSuchDatabase,
    /// The server has no connection slot left.
    TooManyConnections,
    /// The server is starting up, shutting down or recovering.
    NotReady,
    /// TLS failed, or the server has none although the URL requires it.
    Tls,
    /// The folder of the SQLite file does not exist.
    NoSuchDirectory,
    /// The SQLite file, or its folder, cannot be written.
    ReadOnly,
    /// The file is no SQLite database, or it is damaged.
    Corrupt,
    /// Another process holds the SQLite file.
    Locked,
    /// The file could not be opened, or anything else; see the source.
    Other,
}

/// A connection could not be opened; cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectError(Arc<Details>);

#[derive(Debug)]
struct Details {
    kind: ConnectErrorKind,
    target: String,
    path: Option<PathBuf>,
    sqlstate: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ConnectError {
    pub(crate) fn new(kind: ConnectErrorKind, target: impl Into<String>) -> Self {
        Self(Arc::new(Details {
            kind,
            target: target.into(),
            path: None,
            sqlstate: None,
            source: None,
        }))
    }

    pub(crate) fn with(
        kind: ConnectErrorKind,
        target: String,
        path: Option<PathBuf>,
        sqlstate: Option<String>,
        source: Box<dyn Error + Send + Sync>,
    ) -> Self {
        Self(Arc::new(Details {
            kind,
            target,
            path,
            sqlstate,
            source: Some(source),
        }))
    }

    /// What went wrong.
    pub fn kind(&self) -> ConnectErrorKind {
        self.0.kind
    }

    /// The five-character code that PostgreSQL gave, if it answered.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// The SQLite file.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Whether trying again is pointless until somebody changes something: a wrong password, a missing database or
    /// folder, a damaged or unwritable file.
    pub fn is_permanent(&self) -> bool {
        use ConnectErrorKind as Kind;
        matches!(
            self.0.kind,
            Kind::Authentication
                | Kind::NoSuchDatabase
                | Kind::Tls
                | Kind::NoSuchDirectory
                | Kind::ReadOnly
                | Kind::Corrupt
        )
    }

    /// Whether the SQLite file is damaged or no database at all.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ConnectErrorKind::Corrupt
    }

    /// Whether the SQLite file or its folder cannot be written.
    pub fn is_read_only(&self) -> bool {
        self.0.kind == ConnectErrorKind::ReadOnly
    }

    /// Whether `connect_timeout` passed.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ConnectErrorKind::TimedOut
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ConnectErrorKind as Kind;
        let target = &self.0.target;
        match self.0.kind {
            Kind::TimedOut => write!(
                f,
                "{target} did not complete a connection within connect_timeout"
            ),
            Kind::Unreachable => write!(
                f,
                "{target} cannot be reached; check host, port and network"
            ),
            Kind::Authentication => write!(f, "{target} refused the user or password"),
            Kind::NoSuchDatabase => write!(f, "{target} names a database that does not exist"),
            Kind::TooManyConnections => {
                write!(
                    f,
                    "{target} has no connection slot left; lower max_size or raise its limit"
                )
            }
            Kind::NotReady => write!(f, "{target} is starting up or shutting down"),
            Kind::Tls => write!(
                f,
                "{target} could not be reached through TLS; check sslmode and certificate"
            ),
            Kind::NoSuchDirectory => {
                write!(f, "the folder of {target} does not exist; create it first")
            }
            Kind::ReadOnly => write!(f, "{target} cannot be written; check owner and permissions"),
            Kind::Corrupt => write!(
                f,
                "{target} is damaged or no SQLite database; restore a backup"
            ),
            Kind::Locked => write!(f, "{target} is locked by another process"),
            Kind::Other => write!(f, "{target} could not be opened"),
        }?;
        match &self.0.sqlstate {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// A pool could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting cannot work; nothing was opened.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The first connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Of several servers not one answered.
    #[error("no server answers: {}", servers.join("; "))]
    NoServer {
        /// What each said.
        servers: Vec<String>,
    },
}

impl OpenError {
    /// Whether a setting is to blame.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Config(_))
    }

    /// Whether the SQLite file is damaged or no database at all.
    pub fn is_corrupt(&self) -> bool {
        self.connect().is_some_and(ConnectError::is_corrupt)
    }

    /// Whether the SQLite file or its folder cannot be written.
    pub fn is_read_only(&self) -> bool {
        self.connect().is_some_and(ConnectError::is_read_only)
    }

    /// The connect error, if that is what it is.
    pub fn connect(&self) -> Option<&ConnectError> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Config(_) | Self::NoServer { .. } => None,
        }
    }
}

/// A connection could not be borrowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// All connections stayed in use for as long as the caller could wait.
    #[error(
        "no connection became free within {waited:?}; all {max_size} stayed in use{}{}: hold them shorter or raise max_size",
        Held(holders), Nested(*held_by_caller)
    )]
    #[non_exhaustive]
    Exhausted {
        /// How long this caller waited.
        waited: Duration,
        /// The most connections that could be lent.
        max_size: u32,
        /// Who holds them, the longest first; at most eight.
        holders: Vec<Holder>,
        /// Where the same task had borrowed a connection that it still holds: it may have waited for itself.
        held_by_caller: Option<&'static Location<'static>>,
        /// Why no further connection could be opened, if that was tried and failed last.
        #[source]
        last_connect_error: Option<ConnectError>,
    },
    /// The queue was full already: `max_waiting` others were waiting.
    #[error("{waiting} callers wait for a connection already, which is max_waiting: shed load")]
    Overloaded {
        /// How many were waiting.
        waiting: usize,
    },
    /// The queue is so long that the wait would outlast the caller's deadline; it was not begun.
    #[error(
        "a connection would become free in about {predicted:?}, but only {remaining:?} remain: shed load or raise max_size"
    )]
    #[non_exhaustive]
    DeadlineTooClose {
        /// How long the wait would be, judged by how long connections were held lately.
        predicted: Duration,
        /// The time that the caller had left.
        remaining: Duration,
    },
    /// A new connection was needed and could not be opened.
    #[error("no connection could be opened")]
    #[non_exhaustive]
    ConnectFailed {
        /// Why.
        source: ConnectError,
        /// PostgreSQL's code, if it answered.
        sqlstate: Option<String>,
        /// Whether trying again is pointless.
        permanent: bool,
    },
    /// Idle connections were there but gave no sign of life, and no time was left to open another.
    #[error("idle connections did not answer within {waited:?}; the database or the network hangs")]
    #[non_exhaustive]
    ValidationFailed {
        /// How long this caller waited.
        waited: Duration,
    },
    /// A connection was there but did not answer; only [`Pool::ping`](crate::Pool::ping) returns this.
    #[error("the database did not answer a ping")]
    PingFailed {
        /// What the database or the driver said; `None` when `validation_timeout` passed.
        source: Option<diesel::result::Error>,
    },
    /// Of several servers none took writes for `failover_wait`.
    #[error("no server takes writes after {waited:?}: {}", servers.join("; "))]
    NoPrimary {
        /// How long this caller waited.
        waited: Duration,
        /// What each server said.
        servers: Vec<String>,
    },
    /// Of several servers none may serve this read now.
    #[error("no server can serve this read: {}", servers.join("; "))]
    NoServer {
        /// What each server said.
        servers: Vec<String>,
    },
    /// The pool stayed suspended for as long as the caller could wait.
    #[error("the pool was suspended for all of {waited:?}; `resume` lends again")]
    #[non_exhaustive]
    Suspended {
        /// How long this caller waited.
        waited: Duration,
    },
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed,
}

impl AcquireError {
    /// Whether time ran out: waiting for a free connection, opening one, or waiting for an answer.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Exhausted { .. }
            | Self::ValidationFailed { .. }
            | Self::Suspended { .. }
            | Self::NoPrimary { .. } => true,
            Self::ConnectFailed { source, .. } => source.is_timeout(),
            Self::PingFailed { source } => source.is_none(),
            Self::Overloaded { .. }
            | Self::DeadlineTooClose { .. }
            | Self::NoServer { .. }
            | Self::Closed => false,
        }
    }

    /// Whether there are too many callers for the connections there are: waited in vain, or not let into the queue.
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::Exhausted { .. } | Self::Overloaded { .. } | Self::DeadlineTooClose { .. }
        )
    }

    /// Whether a connection could not be opened.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::ConnectFailed { .. })
    }

    /// Whether trying again is pointless until somebody changes something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::ConnectFailed { permanent, .. } => *permanent,
            Self::Closed => true,
            _ => false,
        }
    }

    /// Whether the pool is suspended.
    pub fn is_suspended(&self) -> bool {
        matches!(self, Self::Suspended { .. })
    }

    /// Whether the pool is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

/// The longest holder and how many others.
struct Held<'a>(&'a [Holder]);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [only] => write!(f, ", held by {only}"),
            [first, rest @ ..] => write!(f, ", the longest by {first}, and {} more", rest.len()),
        }
    }
}

struct Nested(Option<&'static Location<'static>>);

impl fmt::Display for Nested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "; the same task holds one since {at}"),
            None => Ok(()),
        }
    }
}

impl From<ConnectError> for AcquireError {
    fn from(source: ConnectError) -> Self {
        Self::ConnectFailed {
            sqlstate: source.sqlstate().map(str::to_owned),
            permanent: source.is_permanent(),
            source,
        }
    }
}

/// Lets `diesel::result::Error` be the error type of a transaction: the reason becomes the text of a database error.
impl From<AcquireError> for diesel::result::Error {
    fn from(error: AcquireError) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::DatabaseError(
            diesel::result::DatabaseErrorKind::UnableToSendCommand,
            Box::new(text),
        )
    }
}
