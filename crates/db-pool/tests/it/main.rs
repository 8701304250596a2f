//! The contract of the pool, one module per behaviour; PostgreSQL is tested where `TEST_DATABASE_URL` names a server.

#![cfg_attr(
    any(feature = "sqlite", feature = "postgres"),
    expect(
        clippy::unwrap_used,
        reason = "clippy exempts tests, but not the functions they share"
    )
)]

#[cfg(feature = "postgres")]
mod cluster;
mod config;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod hooks_support;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod log_support;
#[cfg(feature = "sqlite")]
mod sqlite_support;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod support;

#[cfg(feature = "sqlite")]
mod abandoned;
#[cfg(all(feature = "advice", any(feature = "sqlite", feature = "postgres")))]
mod advice;
#[cfg(all(feature = "backup", feature = "postgres"))]
mod backup_postgres;
#[cfg(all(feature = "backup", feature = "sqlite"))]
mod backup_sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod cancelled_transactions;
#[cfg(feature = "sqlite")]
mod control;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod error_classes;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod examples;
mod faults_table;
#[cfg(feature = "sqlite")]
mod files;
#[cfg(feature = "postgres")]
mod growth;
#[cfg(feature = "sqlite")]
mod health;
#[cfg(feature = "sqlite")]
mod holds;
#[cfg(feature = "sqlite")]
mod hooks;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod indexes;
#[cfg(feature = "postgres")]
mod lanes;
#[cfg(feature = "sqlite")]
mod lifecycle;
mod loader;
#[cfg(all(feature = "migrations", any(feature = "sqlite", feature = "postgres")))]
mod migrations;
#[cfg(feature = "sqlite")]
mod model;
#[cfg(feature = "sqlite")]
mod observability;
#[cfg(feature = "sqlite")]
mod panics;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_bouncer;
#[cfg(feature = "postgres")]
mod postgres_cancel;
#[cfg(feature = "postgres")]
mod postgres_faults;
#[cfg(feature = "postgres")]
mod postgres_plans;
#[cfg(feature = "postgres")]
mod postgres_support;
#[cfg(feature = "postgres")]
mod postgres_tls;
#[cfg(feature = "postgres")]
mod proxy;
#[cfg(all(feature = "query-cache", any(feature = "sqlite", feature = "postgres")))]
mod query_cache;
#[cfg(feature = "sqlite")]
mod queue;
#[cfg(feature = "sqlite")]
mod reading;
#[cfg(feature = "postgres")]
mod replicas;
#[cfg(feature = "postgres")]
mod replicas_config;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod retries;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
#[cfg(feature = "tower")]
mod scope_layer;
#[cfg(feature = "sqlite")]
mod scopes;
mod settings_table;
#[cfg(feature = "postgres")]
mod silence;
#[cfg(feature = "sqlite")]
mod sqlite_faults;
#[cfg(feature = "sqlite")]
mod statements;
#[cfg(feature = "postgres")]
mod tally;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod telling;
#[cfg(feature = "sqlite")]
mod transactions;
#[cfg(feature = "postgres")]
mod unreachable;
