#![cfg_attr(feature = "sqlite", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "sqlite"),
    doc = "A connection pool for diesel-async; the example needs feature `sqlite`."
)]

mod backend;
mod config;
mod durations;
mod error;
mod guard;
mod lane;
mod manager;
mod metrics;
#[cfg(feature = "migrations")]
mod migrate;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod shared;
mod slots;
#[cfg(feature = "sqlite")]
mod sqlite;
mod status;
mod transaction;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod transaction_text;
mod url;

pub use crate::backend::Backend;
pub use crate::config::PoolConfig;
pub use crate::error::{AcquireError, ConfigError, ConnectError, ConnectErrorKind, OpenError};
pub use crate::guard::Connection;
pub use crate::lane::Lane;
#[cfg(feature = "migrations")]
pub use crate::migrate::{Migratable, MigrateError};
pub use crate::pool::Pool;
#[cfg(feature = "postgres")]
pub use crate::postgres::{PgConnection, Postgres};
#[cfg(feature = "sqlite")]
pub use crate::sqlite::{Sqlite, SqliteConnection};
pub use crate::status::Status;
pub use crate::transaction::{AsyncFunc, Isolation, TransactionOptions};
pub use crate::url::{BackendKind, redact};
