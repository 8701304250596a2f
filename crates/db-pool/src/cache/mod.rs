//! The query cache: results of reads that are dropped when a table behind them changes.
