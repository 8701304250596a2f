#![cfg_attr(feature = "sqlite", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "sqlite"),
    doc = "A connection pool for diesel-async; the example needs feature `sqlite`."
)]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    expect(dead_code, unused_imports, reason = "without a database nothing runs")
)]

mod admission;
#[cfg(all(feature = "advice", any(feature = "sqlite", feature = "postgres")))]
mod advice;
mod backend;
#[cfg(feature = "backup")]
mod backup;
#[cfg(feature = "query-cache")]
mod cache;
mod care;
mod class;
mod config;
mod durations;
mod error;
mod growth;
mod guard;
mod health;
mod housekeeper;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod indexes;
mod lane;
mod loader;
mod lsn;
mod manager;
mod metrics;
#[cfg(feature = "migrations")]
mod migrate;
mod observe;
mod other_pools;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod registry;
#[cfg(feature = "postgres")]
mod replicas;
mod rows;
mod scope;
mod shared;
mod slots;
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
mod status;
mod transaction;
#[cfg(feature = "sqlite")]
mod transaction_text;
mod url;

#[cfg(all(feature = "advice", any(feature = "sqlite", feature = "postgres")))]
pub use crate::advice::{
    Action, Advice, Advised, Evidence, Finding, FindingKind, IndexTrial, Measured, Severity,
    SuggestedIndex, TrialError, TrialOptions, Value,
};
pub use crate::backend::Backend;
#[cfg(feature = "backup")]
pub use crate::backup::{
    Backup, BackupConfig, BackupError, BackupProgress, Backups, Recoverable, TableRows,
};
#[cfg(all(feature = "query-cache", feature = "postgres"))]
pub use crate::cache::PgNotifyBus;
#[cfg(feature = "query-cache")]
pub use crate::cache::{
    CacheError, CachedQuery, IntoDuration, InvalidationBus, MemoryBus, MemoryResultStore,
    QueryCache, QueryCacheConfig, QueryCacheStats, Raised, RaisedStream, RefreshedQuery,
    ResultStore, StoreError,
};
pub use crate::class::ErrorClass;
pub use crate::config::PoolConfig;
pub use crate::error::{AcquireError, ConfigError, ConnectError, ConnectErrorKind, OpenError};
pub use crate::guard::Connection;
pub use crate::health::{
    DatabaseHealth, Health, HealthReport, HealthState, PostgresHealth, Sessions, SqliteHealth,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use crate::indexes::{
    Index, IndexEntry, IndexError, IndexNotUsed, IndexReport, IndexState, Indexed,
    assert_uses_index,
};
pub use crate::lane::Lane;
pub use crate::loader::{AsyncFetch, Load, Loader, LoaderError, LoaderOptions};
pub use crate::lsn::{Lsn, LsnError};
#[cfg(feature = "migrations")]
pub use crate::migrate::{Migratable, MigrateError};
pub use crate::observe::{CallSite, Quantiles, StatementStats, Usage};
pub use crate::other_pools::{OTHER_SETTINGS, OtherSetting, setting_of_other_pool};
pub use crate::pool::Pool;
#[cfg(feature = "postgres")]
pub use crate::postgres::{PgConnection, Postgres};
pub use crate::registry::Holder;
#[cfg(feature = "postgres")]
pub use crate::replicas::{
    PrimaryConnection, PrimaryReads, ReplicaLane, Replicas, ReplicasConfig, ReplicasStatus, Server,
    ServerRole, ServerStatus,
};
#[cfg(feature = "sqlite")]
pub use crate::rows::RowColumns;
#[cfg(feature = "postgres")]
pub use crate::rows::UnnestColumns;
pub use crate::rows::{InsertColumns, InsertRows, TakesRows, insert_rows};
pub use crate::scope::{Scope, ScopeReport, ScopeStatement};
#[cfg(feature = "tower")]
pub use crate::scope::{ScopeLayer, ScopeService};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{Sqlite, SqliteConnection};
pub use crate::status::Status;
pub use crate::transaction::{
    AsyncFunc, HookError, Isolation, Outcome, Transaction, TransactionError, TransactionHook,
    TransactionOptions,
};
pub use crate::url::{BackendKind, redact};
