//! What a closer look at the database finds; plain data that prints well.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::status::Status;

/// How pool and database do; prints as a few lines.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The pool.
    pub status: Status,
    /// How long the cheapest question took.
    #[serde(serialize_with = "seconds")]
    pub ping: Option<Duration>,
    /// What the database says of itself; `None` if it could not be asked.
    pub database: Option<DatabaseHealth>,
    /// Why it could not be asked.
    pub trouble: Option<String>,
}

/// What a database says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DatabaseHealth {
    /// A PostgreSQL server.
    Postgres(PostgresHealth),
    /// A SQLite file.
    Sqlite(SqliteHealth),
}

/// What a PostgreSQL server says of itself and of the sessions with our `application_name`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PostgresHealth {
    /// Its version.
    pub version: String,
    /// Whether it is a standby, which only reads.
    pub standby: bool,
    /// Our sessions, by state.
    pub sessions: Vec<Sessions>,
    /// How many of our sessions wait for a lock.
    pub waiting_for_locks: i64,
    /// Sessions of all clients.
    pub connections_used: i64,
    /// The most that ordinary users may have.
    pub connections_max: i64,
    /// A standby: how long ago the last replayed transaction was committed, zero if it has replayed all it received.
    #[serde(serialize_with = "seconds")]
    pub replay_lag: Option<Duration>,
    /// A primary: how many standbys follow it.
    pub standbys: i64,
}

/// Our sessions in one state.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sessions {
    /// `active`, `idle`, `idle in transaction`, ...
    pub state: String,
    /// How many.
    pub count: i64,
    /// The age of the oldest transaction among them.
    #[serde(serialize_with = "seconds")]
    pub oldest_transaction: Option<Duration>,
}

/// What a SQLite file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SqliteHealth {
    /// The size of the file, without its log.
    pub bytes: i64,
    /// The size of the write-ahead log on disk; it grows while a reader stays in one transaction.
    pub log_bytes: u64,
    /// Pages that hold nothing and will be used again; `VACUUM` gives them back.
    pub free_pages: i64,
    /// All pages.
    pub pages: i64,
    /// `wal` unless somebody changed it.
    pub journal_mode: String,
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(ping) = self.ping {
            write!(f, "\nping {:.1} ms", ping.as_secs_f64() * 1e3)?;
        }
        if let Some(trouble) = &self.trouble {
            write!(f, "\ntrouble: {trouble}")?;
        }
        match &self.database {
            Some(DatabaseHealth::Postgres(found)) => write!(f, "\n{found}"),
            Some(DatabaseHealth::Sqlite(found)) => write!(f, "\n{found}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PostgresHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.standby { "standby" } else { "primary" };
        let (used, max) = (self.connections_used, self.connections_max);
        write!(
            f,
            "PostgreSQL {} {role}, {used} of {max} connections",
            self.version
        )?;
        match self.replay_lag {
            Some(lag) => write!(f, ", {:.1} s behind", lag.as_secs_f64())?,
            None => write!(f, ", {} standbys", self.standbys)?,
        }
        for sessions in &self.sessions {
            write!(f, "\n  {} {}", sessions.count, sessions.state)?;
            if let Some(oldest) = sessions.oldest_transaction {
                write!(f, ", oldest transaction {:.1} s", oldest.as_secs_f64())?;
            }
        }
        if self.waiting_for_locks > 0 {
            write!(f, "\n  {} waiting for locks", self.waiting_for_locks)?;
        }
        Ok(())
    }
}

impl fmt::Display for SqliteHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, log) = (self.bytes, self.log_bytes);
        let (free, pages, mode) = (self.free_pages, self.pages, &self.journal_mode);
        write!(
            f,
            "SQLite {bytes} bytes, log {log} bytes ({mode}), {free} of {pages} pages free"
        )
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn seconds<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value.as_secs_f64()).serialize(to)
}
