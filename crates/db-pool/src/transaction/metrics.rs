//! The metrics of transactions: how they ended, and how often one was not run again.

use ::metrics::{Counter, Unit};

/// Counter: ends of attempts, by `outcome` (`committed`, `rolled_back`, `unknown`).
const TRANSACTIONS: &str = "db_pool_transactions_total";
/// Counter: attempts that were not made, since too many were.
const RETRIES_REFUSED: &str = "db_pool_transaction_retries_refused_total";

pub(crate) struct Metrics {
    pub(super) committed: Counter,
    pub(super) rolled_back: Counter,
    pub(super) unknown: Counter,
    pub(super) refused: Counter,
}

impl Metrics {
    pub(crate) fn new(pool: &str) -> Self {
        ::metrics::describe_counter!(TRANSACTIONS, Unit::Count, "Transactions, by outcome.");
        ::metrics::describe_counter!(
            RETRIES_REFUSED,
            Unit::Count,
            "Transactions not run again since too many were."
        );
        let pool = pool.to_owned();
        let ended = |outcome: &'static str| ::metrics::counter!(TRANSACTIONS, "pool" => pool.clone(), "outcome" => outcome);
        Self {
            committed: ended("committed"),
            rolled_back: ended("rolled_back"),
            unknown: ended("unknown"),
            refused: ::metrics::counter!(RETRIES_REFUSED, "pool" => pool.clone()),
        }
    }
}
