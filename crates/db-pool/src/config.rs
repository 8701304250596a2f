//! The settings of a pool and the presets they start from.

mod check;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::ConfigError;
use crate::url::{BackendKind, redact, sqlite_file};

/// The settings of a [`Pool`](crate::Pool): plain data with public fields, made by a preset and changed at will.
///
/// In configuration files durations are text (`"250ms"`, `"5m"`), `"off"` switches off what may be off, and unknown
/// keys are errors. Missing keys take the values of [`PoolConfig::web`]. Serialising and `Debug` replace the
/// password in the URL by `***`.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// The database: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=require`. No default.
    ///
    /// An in-memory SQLite database is refused: every connection would see one of its own.
    ///
    /// PostgreSQL: `sslmode` means what it means to libpq. `prefer` (the default) and `require` encrypt and verify
    /// nobody, unless roots are named; `verify-ca` verifies the certificate, `verify-full` its name as well;
    /// `disable` sends all in the clear. Danger: without `verify-full` whoever stands in between can read along.
    /// Several hosts (`one:5432,two:5432`) are tried in turn, and looked up anew at each connect.
    #[serde(serialize_with = "redacted")]
    pub url: String,

    /// The name in metrics, logs and PostgreSQL's `application_name`. Default `main`.
    pub name: String,

    /// The most connections at any time, all kinds together. Default 10 (`embedded`: 5, `batch`: 4).
    ///
    /// Cost: on PostgreSQL 5-10 MiB of server memory each; on SQLite a thread, three file handles and up to 2 MiB of
    /// page cache. Danger: more than the database has cores for makes everything slower; the sum over all processes
    /// must stay under the server's `max_connections`. SQLite needs at least 2: one writes, the rest read.
    pub max_size: u32,

    /// SQLite: how many of `max_size` only read. Default `None`: all but one. PostgreSQL ignores it.
    pub readers: Option<u32>,

    /// Connections kept ready even when idle. Default 1 (`embedded` and `batch`: 0).
    ///
    /// Cost: idle connections. Danger: 0 makes the first request after a quiet time pay for connecting.
    /// On SQLite this counts reader connections.
    pub min_idle: u32,

    /// The longest queue of callers waiting for a connection; the next one is turned away at once. Default 100.
    ///
    /// Danger: a long queue turns overload into time-outs for everybody; a short one sheds load early.
    pub max_waiting: u32,

    /// The longest that borrowing may take, whatever it waits for. Default 5 s (`batch`: 30 s).
    ///
    /// Danger: longer than the timeout of the request it serves only keeps dead requests in the queue.
    #[serde(with = "crate::durations")]
    pub acquire_timeout: Duration,

    /// The longest that opening one connection may take: name resolution, TCP, TLS, login and set-up together.
    /// Default 5 s.
    #[serde(with = "crate::durations")]
    pub connect_timeout: Duration,

    /// Idle connections above `min_idle` are closed after this time. Default 10 min; `None` ("off") keeps them
    /// (`embedded`).
    ///
    /// Danger: firewalls and proxies cut idle connections silently; stay below their limit.
    #[serde(with = "crate::durations::or_off")]
    pub idle_timeout: Option<Duration>,

    /// A connection is replaced at this age, less a random quarter so that they do not all expire together.
    /// Default 30 min; `None` ("off") keeps them for ever (`embedded`).
    ///
    /// Cost: a reconnect now and then. Danger of "off": server memory grows with cached plans, and a moved database
    /// is never noticed.
    #[serde(with = "crate::durations::or_off")]
    pub max_lifetime: Option<Duration>,

    /// The longest that the server works on one statement. Default 30 s (`batch`: off).
    ///
    /// PostgreSQL only, as `statement_timeout`; SQLite has no such limit here, so bound queries by design. When not even
    /// the server's error comes within a second (and an eighth of it all) more, the network is taken for dead and the
    /// connection closed, unless the statement's text set a `statement_timeout` of its own.
    #[serde(with = "crate::durations::or_off")]
    pub statement_timeout: Option<Duration>,

    /// PostgreSQL: the longest wait for a row or table lock, as `lock_timeout`. SQLite: the longest wait for another
    /// process that writes, as `busy_timeout`. Default 5 s; `None` ("off") waits for ever on PostgreSQL and not at
    /// all on SQLite.
    #[serde(with = "crate::durations::or_off")]
    pub lock_timeout: Option<Duration>,

    /// PostgreSQL ends a session whose transaction idles this long, as `idle_in_transaction_session_timeout`.
    /// Default 60 s; `None` ("off") never does.
    #[serde(with = "crate::durations::or_off")]
    pub idle_in_transaction_timeout: Option<Duration>,

    /// A connection that idled longer is asked whether it still lives before it is lent. Default 500 ms.
    ///
    /// Cost: one round trip then. Danger: a long time hands out connections that a restart has killed.
    #[serde(with = "crate::durations")]
    pub validate_after_idle: Duration,

    /// The longest wait for the answer to that question, and for a ping. Default 1 s.
    #[serde(with = "crate::durations")]
    pub validation_timeout: Duration,

    /// The longest that the pool tries to repair a connection whose borrower vanished in the middle of a statement
    /// or transaction; then it is closed. Default 3 s (`embedded`: 30 s, as a second SQLite writer would only meet
    /// the lock of the first).
    #[serde(with = "crate::durations")]
    pub recovery_timeout: Duration,

    /// The longest that [`Pool::close`](crate::Pool::close) waits for borrowers. Default 10 s.
    #[serde(with = "crate::durations")]
    pub close_timeout: Duration,

    /// Connections beyond `max_size` that may be opened while callers wait, and are closed as soon as nobody waits.
    /// Default 0.
    ///
    /// Cost: a connect for each short burst. Danger: counts against the server's `max_connections` as well.
    /// SQLite ignores it.
    pub overflow: u32,

    /// The most connections that are being opened at the same time. Default 2.
    ///
    /// Danger: many at once starve the very borrowers whose connections would come back sooner than a new one opens.
    pub connect_concurrency: u32,

    /// An idle connection is asked for a sign of life this often, less a random tenth. Default 2 min; `None` ("off")
    /// never asks (`embedded`).
    ///
    /// Cost: a round trip each time. Danger of "off": firewalls cut what is silent, and the next borrower pays.
    #[serde(with = "crate::durations::or_off")]
    pub keepalive: Option<Duration>,

    /// PostgreSQL: an abandoned statement may run this much longer before it is cancelled on the server.
    /// Default 20 ms.
    ///
    /// Cost of a short time: a cancel takes about 1.5 ms and a connection of its own to the server, so cancelling
    /// what would have ended soon costs more than waiting for it.
    #[serde(with = "crate::durations")]
    pub cancel_after: Duration,

    /// A connection lent for longer is told as a leak, with the place that borrowed it. Default 30 s; `None` ("off")
    /// never is (`batch`).
    #[serde(with = "crate::durations::or_off")]
    pub leak_after: Option<Duration>,

    /// Borrowing that takes longer is logged. Default 100 ms; `None` ("off") never is.
    #[serde(with = "crate::durations::or_off")]
    pub slow_acquire: Option<Duration>,

    /// A statement that takes longer is logged, with its text and without its values. Default 500 ms; `None` ("off")
    /// never is.
    #[serde(with = "crate::durations::or_off")]
    pub slow_query: Option<Duration>,

    /// PostgreSQL: how many of `max_size` connections are lanes, shared by all single reads. Default 2; 0 makes
    /// [`Pool::read`](crate::Pool::read) borrow a connection of its own.
    ///
    /// They open when reads need them, and are at most half of `max_size`; behind PgBouncer there are none, as it
    /// refuses the settings that make their sessions read-only.
    /// SQLite reads through its readers and ignores it.
    pub lanes: u32,

    /// PostgreSQL: the most statements that are under way on one lane. Default 64.
    ///
    /// Danger: they are answered in order, so a long queue makes the last one wait for all others.
    pub lane_depth: u32,

    /// PostgreSQL: the longest that the server works on a statement of a lane. Default 5 s (`batch`: 30 s).
    #[serde(with = "crate::durations")]
    pub lane_statement_timeout: Duration,

    /// PostgreSQL: statements that usually take longer than this have a lane of their own, so that point reads do
    /// not queue behind them; and a lane whose oldest statement is ten times as old takes no new ones. Default 20 ms.
    #[serde(with = "crate::durations")]
    pub lane_slow: Duration,

    /// PostgreSQL: a PgBouncer in transaction mode stands in between, so nothing may rely on a session: no settings
    /// with the login, no session locks, no `LISTEN`, no lanes. The limits on statements, locks and idling come with
    /// each transaction instead (`SET LOCAL`, in the message that begins it); outside of transactions there are none
    /// on the server. Needs PgBouncer 1.21 or newer for prepared statements. Default `false`.
    pub pgbouncer: bool,

    /// PostgreSQL: a PEM file with the certificates to trust instead of the public roots built into the program, as
    /// `sslrootcert` in the URL. With it, `sslmode=prefer` and `require` verify as `verify-ca` does. Default `None`.
    pub root_certificates: Option<PathBuf>,
}

// === presets ===

impl PoolConfig {
    /// For a service that answers requests: ten connections, waits of seconds, limits on everything.
    pub fn web(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: "main".into(),
            max_size: 10,
            readers: None,
            min_idle: 1,
            max_waiting: 100,
            acquire_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(600)),
            max_lifetime: Some(Duration::from_secs(1800)),
            statement_timeout: Some(Duration::from_secs(30)),
            lock_timeout: Some(Duration::from_secs(5)),
            idle_in_transaction_timeout: Some(Duration::from_secs(60)),
            validate_after_idle: Duration::from_millis(500),
            validation_timeout: Duration::from_secs(1),
            recovery_timeout: Duration::from_secs(3),
            close_timeout: Duration::from_secs(10),
            overflow: 0,
            connect_concurrency: 2,
            keepalive: Some(Duration::from_secs(120)),
            cancel_after: Duration::from_millis(20),
            leak_after: Some(Duration::from_secs(30)),
            slow_acquire: Some(Duration::from_millis(100)),
            slow_query: Some(Duration::from_millis(500)),
            lanes: 2,
            lane_depth: 64,
            lane_statement_timeout: Duration::from_secs(5),
            lane_slow: Duration::from_millis(20),
            pgbouncer: false,
            root_certificates: None,
        }
    }

    /// For imports and jobs: few connections, long statements, patient waits.
    pub fn batch(url: impl Into<String>) -> Self {
        Self {
            max_size: 4,
            min_idle: 0,
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: None,
            lock_timeout: Some(Duration::from_secs(30)),
            idle_in_transaction_timeout: None,
            recovery_timeout: Duration::from_secs(10),
            leak_after: None,
            lane_statement_timeout: Duration::from_secs(30),
            ..Self::web(url)
        }
    }

    /// For a SQLite file beside the program: one writer, four readers, connections that live as long as the pool.
    ///
    /// `path` may be a plain path of any name or a `sqlite:` URL.
    pub fn embedded(path: impl Into<String>) -> Self {
        let path = path.into();
        let url = match BackendKind::from_url(&path) {
            Ok(_) => path,
            Err(_) if path.is_empty() || path.contains("://") => path,
            Err(_) => format!("sqlite:{path}"),
        };
        Self {
            max_size: 5,
            min_idle: 0,
            idle_timeout: None,
            max_lifetime: None,
            recovery_timeout: Duration::from_secs(30),
            keepalive: None,
            ..Self::web(url)
        }
    }

    /// The SQLite file that the URL names; `None` for a server.
    ///
    /// For what has to be done around the file: making its folder, locking it, backing it up.
    ///
    /// # Errors
    /// [`ConfigError`] on field `url` when it names no known database or no file.
    pub fn file(&self) -> Result<Option<PathBuf>, ConfigError> {
        match BackendKind::from_url(&self.url)? {
            BackendKind::Sqlite => Ok(Some(PathBuf::from(sqlite_file(&self.url)?.0))),
            BackendKind::Postgres => Ok(None),
        }
    }

    /// How many connections `read` can draw on.
    pub(crate) fn reading_size(&self, kind: BackendKind) -> u32 {
        match kind {
            BackendKind::Sqlite => self
                .readers
                .unwrap_or_else(|| self.max_size.saturating_sub(1)),
            BackendKind::Postgres => self.max_size,
        }
    }

    /// How many lanes there may be: whatever writes needs connections too.
    pub(crate) fn lanes_at_most(&self) -> usize {
        let lanes = if self.pgbouncer { 0 } else { self.lanes };
        lanes.min(self.max_size / 2) as usize
    }

    /// The URL without its password.
    pub(crate) fn shown_url(&self) -> String {
        redact(&self.url)
    }
}

/// [`PoolConfig::web`] without a URL, which `connect` then asks for.
impl Default for PoolConfig {
    fn default() -> Self {
        Self::web("")
    }
}

impl fmt::Debug for PoolConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolConfig")
            .field("url", &self.shown_url())
            .field("name", &self.name)
            .field("max_size", &self.max_size)
            .field("readers", &self.readers)
            .field("min_idle", &self.min_idle)
            .field("max_waiting", &self.max_waiting)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

fn redacted<S: Serializer>(url: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&redact(url))
}

/// PostgreSQL keeps these settings as milliseconds in 31 bits.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(20 * 24 * 3600);
