//! The query cache: results of reads that are dropped when a table behind them changes.

mod knowledge;
mod ledger;
mod outbox;
mod statement;
mod stats;
mod tokens;
mod writes;

pub(crate) use self::ledger::Ledger;
pub use self::stats::QueryCacheStats;
pub(crate) use self::writes::Writes;
