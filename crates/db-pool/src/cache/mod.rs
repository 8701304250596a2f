//! The query cache: results of reads that are dropped when a table behind them changes.

mod bus;
mod config;
mod flight;
mod handle;
mod key;
mod knowledge;
mod ledger;
#[cfg(feature = "postgres")]
mod notify;
mod outbox;
mod query;
mod results;
mod schema;
mod statement;
mod stats;
mod store;
mod tokens;
mod writes;

pub use self::bus::{InvalidationBus, MemoryBus, Raised, RaisedStream};
pub use self::config::{CacheError, IntoDuration, QueryCacheConfig};
pub use self::handle::QueryCache;
pub(crate) use self::key::KeyBuilder;
#[cfg(feature = "postgres")]
pub(crate) use self::key::postgres as postgres_key;
#[cfg(feature = "sqlite")]
pub(crate) use self::key::sqlite as sqlite_key;
pub(crate) use self::knowledge::Relations;
pub(crate) use self::ledger::Ledger;
#[cfg(feature = "postgres")]
pub use self::notify::PgNotifyBus;
pub use self::query::{CachedQuery, RefreshedQuery};
#[cfg(feature = "postgres")]
pub(crate) use self::schema::postgres as postgres_schema;
#[cfg(feature = "sqlite")]
pub(crate) use self::schema::sqlite as sqlite_schema;
pub use self::stats::QueryCacheStats;
pub use self::store::{MemoryResultStore, ResultStore, StoreError};
pub(crate) use self::writes::Writes;
