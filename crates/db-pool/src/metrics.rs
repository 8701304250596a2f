//! The metrics of a pool: names as constants, handles made once when the pool opens.

use ::metrics::{Counter, Gauge, Histogram, Unit};

/// Gauge: connections by `state` (`idle`, `in_use`).
const CONNECTIONS: &str = "db_pool_connections";
/// Gauge: callers waiting for a connection.
const WAITERS: &str = "db_pool_waiters";
/// Histogram: how long borrowing took, successful or not.
const ACQUIRE_SECONDS: &str = "db_pool_acquire_seconds";
/// Counter: borrowing given up, by `reason` (`exhausted`, `overloaded`, `connect`).
const TIMEOUTS: &str = "db_pool_timeouts_total";
/// Histogram: how long opening a connection took, successful or not.
const CONNECT_SECONDS: &str = "db_pool_connect_seconds";
/// Counter: connections that could not be opened.
const CONNECT_FAILURES: &str = "db_pool_connect_failures_total";
/// Counter: connections whose borrower vanished, by `outcome` (`recovered`, `discarded`).
const ABANDONED: &str = "db_pool_abandoned_total";

/// One pool's handles. Made before a recorder is installed they count into nothing for ever.
pub(crate) struct Metrics {
    pub(crate) idle: Gauge,
    pub(crate) in_use: Gauge,
    pub(crate) waiters: Gauge,
    pub(crate) acquire: Histogram,
    pub(crate) exhausted: Counter,
    pub(crate) overloaded: Counter,
    pub(crate) connect_timeouts: Counter,
    pub(crate) connect: Histogram,
    pub(crate) connect_failures: Counter,
    pub(crate) recovered: Counter,
    pub(crate) discarded: Counter,
}

impl Metrics {
    pub(crate) fn new(pool: &str) -> Self {
        describe();
        let pool = pool.to_owned();
        let connections = |state: &'static str| ::metrics::gauge!(CONNECTIONS, "pool" => pool.clone(), "state" => state);
        let timeouts = |reason: &'static str| ::metrics::counter!(TIMEOUTS, "pool" => pool.clone(), "reason" => reason);
        let abandoned = |outcome: &'static str| ::metrics::counter!(ABANDONED, "pool" => pool.clone(), "outcome" => outcome);
        Self {
            idle: connections("idle"),
            in_use: connections("in_use"),
            waiters: ::metrics::gauge!(WAITERS, "pool" => pool.clone()),
            acquire: ::metrics::histogram!(ACQUIRE_SECONDS, "pool" => pool.clone()),
            exhausted: timeouts("exhausted"),
            overloaded: timeouts("overloaded"),
            connect_timeouts: timeouts("connect"),
            connect: ::metrics::histogram!(CONNECT_SECONDS, "pool" => pool.clone()),
            connect_failures: ::metrics::counter!(CONNECT_FAILURES, "pool" => pool.clone()),
            recovered: abandoned("recovered"),
            discarded: abandoned("discarded"),
        }
    }
}

fn describe() {
    ::metrics::describe_gauge!(CONNECTIONS, Unit::Count, "Open connections by state.");
    ::metrics::describe_gauge!(WAITERS, Unit::Count, "Callers waiting for a connection.");
    ::metrics::describe_histogram!(
        ACQUIRE_SECONDS,
        Unit::Seconds,
        "Time to borrow a connection."
    );
    ::metrics::describe_counter!(TIMEOUTS, Unit::Count, "Borrowing given up, by reason.");
    ::metrics::describe_histogram!(CONNECT_SECONDS, Unit::Seconds, "Time to open a connection.");
    ::metrics::describe_counter!(
        CONNECT_FAILURES,
        Unit::Count,
        "Connections that failed to open."
    );
    ::metrics::describe_counter!(
        ABANDONED,
        Unit::Count,
        "Connections whose borrower vanished."
    );
}
