//! The whole configuration of the service as one plain struct; every subsystem gets its part of it.
//!
//! Four layers, later ones win: built-in defaults, `config/default.toml`, the file that
//! `APP_CONFIG` names, and environment variables `APP__SECTION__KEY`. An unknown key or a bad
//! value is an error that names key, value and origin, before anything is opened or bound.

mod check;
mod defaults;
mod error;
mod inputs;
mod load;
mod parts;
mod text;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

pub use self::error::ConfigError;
pub use self::inputs::Inputs;
pub use self::text::{ConnectionUrl, OrOff, Secret};

/// Everything that can be configured; see `config/default.toml` for the same with comments.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener of the API.
    pub http: HttpConfig,
    /// The listener of metrics and start-up views, for operators only.
    pub admin: AdminConfig,
    /// SQLite file or PostgreSQL server.
    pub database: DatabaseConfig,
    /// The tiers in front of the database.
    pub cache: CacheConfig,
    /// Metrics of process, HTTP, pool and cache.
    pub monitor: MonitorConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
}

/// The API's listener and the limits of one request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where the API listens; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub address: SocketAddr,
    /// Longest wait for the head of a request, and for the next request of an idle connection.
    /// Default 20 s; keep it above the idle timeout of a load balancer in front.
    #[serde(with = "text::duration")]
    pub header_timeout: Duration,
    /// Longest time for handling one request before it is answered with 504. Default 30 s.
    #[serde(with = "text::duration")]
    pub request_timeout: Duration,
    /// Longest wait for a client to take more of its answer. Default 30 s.
    #[serde(with = "text::duration")]
    pub write_timeout: Duration,
    /// Largest request body. Default 1 MiB; a larger one is answered with 413.
    #[serde(with = "text::size")]
    pub body_limit: ByteSize,
    /// Whether each answer tells in `Server-Timing` what it asked of the database; for development,
    /// as it tells strangers how the service works. Default false.
    pub server_timing: bool,
    /// Connections served at the same time; further ones wait in the backlog. Default 10,000, or
    /// what the process's limit of open files leaves.
    pub max_connections: usize,
}

/// The admin listener: `/metrics`, `/monitor` and the start-up views.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Where it listens; port 0 takes a free one. Default `127.0.0.1:8081`.
    pub address: SocketAddr,
    /// Asked for as `Authorization: Bearer …` on everything but the probes. Default none; needed
    /// when `address` is not a loopback address.
    pub key: Option<Secret>,
}

/// Which database, and the pool in front of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:PATH` or `postgres://user:password@host/name`. Default `sqlite:data/service.db`.
    pub url: ConnectionUrl,
    /// Further PostgreSQL servers of the same database. Default none.
    ///
    /// Which server is the primary is found out: writes go there, listings to the others. A request sees what it
    /// wrote itself; the listing of a later one may be as old as the replica is behind. As a variable of the
    /// environment: URLs with blanks between them.
    #[serde(deserialize_with = "text::urls")]
    pub replicas: Vec<ConnectionUrl>,
    /// What differs from the pool's preset for the backend, for each server.
    pub pool: PoolConfig,
    /// First pages of listings, remembered; off without a TTL.
    pub query_cache: QueryCacheConfig,
    /// Copies taken at intervals; off without a folder.
    pub backup: BackupConfig,
}

/// Copies of the database, verified when they are taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// Where they go; made when missing. Default none: no copies.
    ///
    /// Danger: on the disk of the database they die with it.
    pub folder: Option<PathBuf>,
    /// How old the newest may be before the next is taken. Default 1 day. A restart takes none more.
    ///
    /// Replicas that share a folder share its copies.
    #[serde(with = "text::duration")]
    pub every: Duration,
    /// How many stay. Default 7.
    pub keep: usize,
}

/// The cache of query results inside the pool.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryCacheConfig {
    /// For how long the first page of a listing of tasks may be remembered. Default none: each asks the database.
    ///
    /// A write through the service ends it at once, on other replicas as soon as PostgreSQL's NOTIFY has told
    /// them. Danger: what is written past the service shows after this time only.
    #[serde(with = "text::optional_duration")]
    pub ttl: Option<Duration>,
    /// Most results in memory. Default 1,000.
    pub max_entries: usize,
}

/// Overrides of the preset that `db_pool` has for the backend.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Most connections to PostgreSQL, or readers of SQLite (which has one writer).
    pub max_size: Option<u32>,
    /// Connections that are kept ready even when idle.
    pub min_idle: Option<u32>,
    /// Connections beyond `max_size` while callers wait; PostgreSQL only.
    pub overflow: Option<u32>,
    /// Longest queue of callers that wait for a connection; the next is answered with 503 at once.
    pub max_waiting: Option<u32>,
    /// Connections of `max_size` that all single reads share; PostgreSQL only, 0 for none.
    pub lanes: Option<u32>,
    /// Longest wait for a connection; a request waits no longer than it lives in any case.
    #[serde(with = "text::optional_duration")]
    pub acquire_timeout: Option<Duration>,
    /// Longest time for opening one connection.
    #[serde(with = "text::optional_duration")]
    pub connect_timeout: Option<Duration>,
    /// Longest run of one statement; PostgreSQL only.
    pub statement_timeout: Option<OrOff>,
    /// Longest wait for a lock of somebody else.
    pub lock_timeout: Option<OrOff>,
    /// After how long an idle connection above `min_idle` is closed.
    pub idle_timeout: Option<OrOff>,
    /// At which age a connection is replaced.
    pub max_lifetime: Option<OrOff>,
    /// How long a statement takes to be logged as slow, without its values.
    pub slow_query: Option<OrOff>,
    /// How long a connection is lent to be logged as a leak, with the place that borrowed it.
    pub leak_after: Option<OrOff>,
    /// A PgBouncer in transaction mode stands in between; PostgreSQL only. Default false.
    pub pgbouncer: bool,
    /// PEM file with the certificates to trust instead of the public ones; PostgreSQL only.
    pub root_certificates: Option<PathBuf>,
}

/// The tiers in front of the database: memory, Redis, disk.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How long an entry may be served. Default 1 h.
    #[serde(with = "text::duration")]
    pub ttl: Duration,
    /// For how long after that an old entry is answered at once while it is fetched anew. Default 30 s.
    #[serde(with = "text::duration")]
    pub stale_while_revalidate: Duration,
    /// For how long after `ttl` an old entry stands in for a database that cannot be asked. Default 1 h.
    #[serde(with = "text::duration")]
    pub stale_if_error: Duration,
    /// How long it is remembered that there is no such record. Default 10 s.
    #[serde(with = "text::duration")]
    pub negative_ttl: Duration,
    /// How values are stored in Redis and on disk. Default `lz4`.
    pub compression: CompressionChoice,
    /// Memory tier.
    pub memory: MemoryConfig,
    /// Redis tier; off without a URL.
    pub redis: RedisConfig,
    /// Disk tier.
    pub disk: DiskConfig,
}

/// How cached values are compressed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionChoice {
    /// Stored as they are.
    None,
    /// LZ4 above a threshold.
    Lz4,
}

/// The memory tier.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// Most entries per cache. Default 10,000.
    pub capacity: usize,
    /// How many of the most read entries a restarted process fetches before they are asked for. Default
    /// 1,000.
    pub hot_keys: usize,
}

/// The Redis tier, shared by all processes of the service.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://host:6379` (also `rediss://`, `redis-sentinel://`, `redis-cluster://`). Default
    /// none: no Redis tier.
    pub url: Option<ConnectionUrl>,
}

/// The disk tier, which survives a restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskConfig {
    /// Off switch. Default true.
    pub enabled: bool,
    /// Its folder, made when missing; one process at a time. Default `data/cache`.
    pub path: PathBuf,
    /// Most bytes it may hold. Default 256 MiB.
    #[serde(with = "text::size")]
    pub capacity: ByteSize,
}

/// Metrics and their sampler.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitorConfig {
    /// Off switch: `/metrics` is then 404. Default true.
    pub enabled: bool,
    /// How often the process is sampled. Default 60 s.
    #[serde(with = "text::duration")]
    pub interval: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` for people, `json` for collectors. Default `text`.
    pub format: LogFormat,
    /// Filter in the syntax of `tracing_subscriber::EnvFilter`. Default
    /// `info,foyer=warn,foyer_storage=warn`: the disk engine tells every step of its recovery.
    pub filter: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the process ends after SIGTERM.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long requests are still accepted after readiness went off, so that load balancers
    /// notice. Default 0 s; 5 s is usual behind Kubernetes.
    #[serde(with = "text::duration")]
    pub drain_delay: Duration,
    /// Longest wait for running requests, and after that for the components to stop. Default 30 s
    /// each.
    #[serde(with = "text::duration")]
    pub timeout: Duration,
}

// === impl Config ===

impl Config {
    /// Reads and checks the four layers.
    ///
    /// # Errors
    ///
    /// An unreadable file, an unknown key, a bad value, or a combination that cannot work; the
    /// message names key, value and origin.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let config = load::load(inputs)?;
        config.check()?;
        Ok(config)
    }

    /// The settings that are not the default, as `key = value`, with every secret replaced by `***`.
    pub fn changed(&self) -> Vec<String> {
        load::changed(self)
    }

    /// The configuration as TOML, with every secret replaced by `***`.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self)
            .expect("plain structs of strings, numbers and tables are valid TOML")
    }
}
