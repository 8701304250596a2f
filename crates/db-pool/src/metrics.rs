//! The metrics of a pool: names as constants, handles made once when the pool opens.
//!
//! Recorders of metrics are too slow for every checkout, so counters and histograms are kept here and handed over by
//! [`Metrics::flush`]: once a second, on `Pool::status` and when the pool is gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Unit};

use crate::class::ErrorClass;
use crate::error::AcquireError;
use crate::observe::{Buckets, Filled};

/// Gauge: connections by `state` (`idle`, `in_use`, `connecting`, `recovering`).
const CONNECTIONS: &str = "db_pool_connections";
/// Gauge: the most connections that there may be.
const MAX_CONNECTIONS: &str = "db_pool_max_connections";
/// Gauge: callers waiting for a connection.
const WAITERS: &str = "db_pool_waiters";
/// Histogram: how long borrowing took, successful or not.
const ACQUIRE_SECONDS: &str = "db_pool_acquire_seconds";
/// Histogram: how long connections were held.
const HOLD_SECONDS: &str = "db_pool_hold_seconds";
/// Histogram: how long opening a connection took, successful or not.
const CONNECT_SECONDS: &str = "db_pool_connect_seconds";
/// Histogram: how long signs of life took, successful or not.
const VALIDATE_SECONDS: &str = "db_pool_validate_seconds";
/// Histogram: how long statements took, successful or not.
const QUERY_SECONDS: &str = "db_pool_query_seconds";
/// Counter: borrowing given up, by `reason` (`exhausted`, `overloaded`, `connect`, `deadline`, `validation`,
/// `suspended`).
const TIMEOUTS: &str = "db_pool_timeouts_total";
/// Counter: callers that went away while they waited.
const ACQUIRE_CANCELLED: &str = "db_pool_acquire_cancelled_total";
/// Counter: connections opened.
const CREATED: &str = "db_pool_created_total";
/// Counter: connections closed, by `reason`; see [`CLOSED_REASONS`].
const CLOSED: &str = "db_pool_closed_total";
/// Counter: connections that could not be opened.
const CONNECT_FAILURES: &str = "db_pool_connect_failures_total";
/// Counter: connections whose borrower vanished, by `outcome` (`recovered`, `discarded`).
const ABANDONED: &str = "db_pool_abandoned_total";
/// Counter: connections held longer than `leak_after`.
const LEAKS: &str = "db_pool_leaks_total";
/// Counter: statements that took longer than `slow_query`.
const SLOW_QUERIES: &str = "db_pool_slow_queries_total";
/// Counter: borrowing that took longer than `slow_acquire`.
const SLOW_ACQUIRES: &str = "db_pool_slow_acquires_total";
/// Counter: statements repeated in one scope with other values, once per scope and statement.
const N_PLUS_ONE: &str = "db_pool_n_plus_one_total";
/// Counter: reads repeated in one scope with the same values, once per scope and statement.
const DUPLICATES: &str = "db_pool_duplicate_queries_total";
/// Counter: transactions run again, by `class` of the error.
const RETRIES: &str = "db_pool_retries_total";
/// Counter: statements that failed, by `class` of the error.
const STATEMENT_ERRORS: &str = "db_pool_statement_errors_total";

/// One pool's handles. Made before a recorder is installed they count into nothing for ever.
pub(crate) struct Metrics {
    pub(crate) idle: Gauge,
    pub(crate) in_use: Gauge,
    pub(crate) connecting: Gauge,
    pub(crate) recovering: Gauge,
    pub(crate) max_connections: Gauge,
    pub(crate) waiters: Gauge,
    pub(crate) acquire: Timer,
    pub(crate) hold: Timer,
    pub(crate) connect: Timer,
    pub(crate) validate: Timer,
    pub(crate) query: Timer,
    exhausted: Count,
    overloaded: Count,
    connect_timeouts: Count,
    /// Turned away because the deadline was too close.
    deadline: Count,
    validation: Count,
    suspended: Count,
    pub(crate) acquire_cancelled: Count,
    pub(crate) created: Count,
    pub(crate) connect_failures: Count,
    pub(crate) closed: Closed,
    pub(crate) recovered: Count,
    pub(crate) discarded: Count,
    pub(crate) leaks: Count,
    pub(crate) slow_queries: Count,
    pub(crate) slow_acquires: Count,
    pub(crate) n_plus_one: Count,
    pub(crate) duplicates: Count,
    pub(crate) retries: ByClass,
    pub(crate) statement_errors: ByClass,
}

impl Metrics {
    pub(crate) fn new(pool: &str) -> Self {
        describe();
        let make = Make(pool);
        let connections = |state| make.gauge(CONNECTIONS, &[("state", state)]);
        let timeouts = |reason| make.count(TIMEOUTS, &[("reason", reason)]);
        let abandoned = |outcome| make.count(ABANDONED, &[("outcome", outcome)]);
        Self {
            idle: connections("idle"),
            in_use: connections("in_use"),
            connecting: connections("connecting"),
            recovering: connections("recovering"),
            max_connections: make.gauge(MAX_CONNECTIONS, &[]),
            waiters: make.gauge(WAITERS, &[]),
            acquire: make.timer(ACQUIRE_SECONDS),
            hold: make.timer(HOLD_SECONDS),
            connect: make.timer(CONNECT_SECONDS),
            validate: make.timer(VALIDATE_SECONDS),
            query: make.timer(QUERY_SECONDS),
            exhausted: timeouts("exhausted"),
            overloaded: timeouts("overloaded"),
            connect_timeouts: timeouts("connect"),
            deadline: timeouts("deadline"),
            validation: timeouts("validation"),
            suspended: timeouts("suspended"),
            acquire_cancelled: make.count(ACQUIRE_CANCELLED, &[]),
            created: make.count(CREATED, &[]),
            connect_failures: make.count(CONNECT_FAILURES, &[]),
            closed: Closed::new(&make),
            recovered: abandoned("recovered"),
            discarded: abandoned("discarded"),
            leaks: make.count(LEAKS, &[]),
            slow_queries: make.count(SLOW_QUERIES, &[]),
            slow_acquires: make.count(SLOW_ACQUIRES, &[]),
            n_plus_one: make.count(N_PLUS_ONE, &[]),
            duplicates: make.count(DUPLICATES, &[]),
            retries: ByClass::new(&make, RETRIES),
            statement_errors: ByClass::new(&make, STATEMENT_ERRORS),
        }
    }

    /// Hands over what was counted since the last time. Gauges are set by whoever knows them.
    pub(crate) fn flush(&self) {
        for timer in [
            &self.acquire,
            &self.hold,
            &self.connect,
            &self.validate,
            &self.query,
        ] {
            timer.flush();
        }
        for count in [
            &self.exhausted,
            &self.overloaded,
            &self.connect_timeouts,
            &self.deadline,
            &self.validation,
            &self.suspended,
            &self.acquire_cancelled,
            &self.created,
            &self.connect_failures,
            &self.recovered,
            &self.discarded,
            &self.leaks,
            &self.slow_queries,
            &self.slow_acquires,
            &self.n_plus_one,
            &self.duplicates,
        ] {
            count.flush();
        }
        self.closed.0.iter().for_each(|(_, count)| count.flush());
        self.retries.flush();
        self.statement_errors.flush();
    }
}

impl Metrics {
    /// Counts a caller that got no connection.
    pub(crate) fn refused(&self, error: &AcquireError) {
        let count = match error {
            AcquireError::Exhausted { .. } => &self.exhausted,
            AcquireError::Overloaded { .. } => &self.overloaded,
            AcquireError::DeadlineTooClose { .. } => &self.deadline,
            AcquireError::ConnectFailed { .. } => &self.connect_timeouts,
            AcquireError::ValidationFailed { .. } => &self.validation,
            AcquireError::Suspended { .. } => &self.suspended,
            _ => return,
        };
        count.increment(1);
    }
}

/// Why a caller got no connection, in one word.
pub(crate) fn refusal_name(error: &AcquireError) -> &'static str {
    match error {
        AcquireError::Exhausted { .. } => "exhausted",
        AcquireError::Overloaded { .. } => "overloaded",
        AcquireError::DeadlineTooClose { .. } => "deadline",
        AcquireError::ConnectFailed { .. } => "connect",
        AcquireError::ValidationFailed { .. } => "validation",
        AcquireError::Suspended { .. } => "suspended",
        AcquireError::Closed => "closed",
        _ => "other",
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.flush();
    }
}

// === kinds of handles ===

/// A counter that is handed over later.
pub(crate) struct Count {
    to: Counter,
    value: AtomicU64,
    told: AtomicU64,
}

impl Count {
    pub(crate) fn increment(&self, by: u64) {
        self.value.fetch_add(by, Relaxed);
    }

    /// The whole since the pool opened.
    pub(crate) fn value(&self) -> u64 {
        self.value.load(Relaxed)
    }

    fn flush(&self) {
        let value = self.value();
        // Of two that flush at once, the one that saw less adds nothing.
        let told = self.told.fetch_max(value, Relaxed);
        if value > told {
            self.to.increment(value - told);
        }
    }
}

/// A histogram that is handed over later: counts and sums exactly, single values as the mean of their bucket, which
/// is a quarter wide.
pub(crate) struct Timer {
    to: Histogram,
    buckets: Buckets,
    told: Mutex<Vec<Filled>>,
}

impl Timer {
    pub(crate) fn record(&self, duration: Duration) {
        self.buckets.record(duration);
    }

    /// Everything since the pool opened.
    pub(crate) fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    fn flush(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.resize(self.buckets.filled().count(), Filled::default());
        for (told, now) in told.iter_mut().zip(self.buckets.filled()) {
            let count = now.count.saturating_sub(told.count);
            if count > 0 {
                let nanos = now.nanos.saturating_sub(told.nanos);
                let mean = nanos as f64 / count as f64 / 1e9;
                self.to.record_many(mean, count as usize);
                *told = now;
            }
        }
    }
}

/// Counters by the class of an error.
pub(crate) struct ByClass(Vec<Count>);

impl ByClass {
    fn new(make: &Make<'_>, name: &'static str) -> Self {
        let count = |(_, class): &(_, &'static str)| make.count(name, &[("class", class)]);
        Self(CLASSES.iter().map(count).collect())
    }

    pub(crate) fn increment(&self, class: ErrorClass) {
        self.0[place(class)].increment(1);
    }

    /// The whole since the pool opened, of all classes.
    pub(crate) fn value(&self) -> u64 {
        self.0.iter().map(Count::value).sum()
    }

    fn flush(&self) {
        self.0.iter().for_each(Count::flush);
    }
}

/// The label of a class of errors.
pub(crate) fn class_name(class: ErrorClass) -> &'static str {
    CLASSES[place(class)].1
}

/// The last one stands for all that have no name here.
fn place(class: ErrorClass) -> usize {
    let known = CLASSES.iter().position(|(known, _)| *known == class);
    known.unwrap_or(CLASSES.len() - 1)
}

const CLASSES: [(ErrorClass, &str); 17] = [
    (ErrorClass::Serialization, "serialization"),
    (ErrorClass::Deadlock, "deadlock"),
    (ErrorClass::Busy, "busy"),
    (ErrorClass::StatementTimeout, "statement_timeout"),
    (ErrorClass::Cancelled, "cancelled"),
    (ErrorClass::LockTimeout, "lock_timeout"),
    (ErrorClass::ConnectionLost, "connection_lost"),
    (ErrorClass::NotReady, "not_ready"),
    (ErrorClass::TooManyConnections, "too_many_connections"),
    (ErrorClass::ReadOnly, "read_only"),
    (ErrorClass::TransactionAborted, "transaction_aborted"),
    (ErrorClass::StalePlan, "stale_plan"),
    (ErrorClass::PreparedStatementLost, "prepared_statement_lost"),
    (ErrorClass::Constraint, "constraint"),
    (ErrorClass::DiskFull, "disk_full"),
    (ErrorClass::Corrupt, "corrupt"),
    (ErrorClass::Other, "other"),
];

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// It reached its age.
    Lifetime,
    /// It idled for longer than `idle_timeout`, or the pool shrank.
    Idle,
    /// The schema or the server's role changed, or `refresh` was called.
    Generation,
    /// It broke, or gave no sign of life.
    Broken,
    /// Its borrower vanished and it could not be repaired.
    Discarded,
    /// Its borrower asked for it.
    Requested,
    /// The pool closed.
    PoolClosed,
}

/// Counters by reason.
pub(crate) struct Closed(Vec<(CloseReason, Count)>);

impl Closed {
    fn new(make: &Make<'_>) -> Self {
        let reasons = [
            (CloseReason::Lifetime, "lifetime"),
            (CloseReason::Idle, "idle"),
            (CloseReason::Generation, "generation"),
            (CloseReason::Broken, "broken"),
            (CloseReason::Discarded, "discarded"),
            (CloseReason::Requested, "requested"),
            (CloseReason::PoolClosed, "pool_closed"),
        ];
        let count = |(reason, name)| (reason, make.count(CLOSED, &[("reason", name)]));
        Self(reasons.into_iter().map(count).collect())
    }

    pub(crate) fn increment(&self, why: CloseReason) {
        for (reason, count) in &self.0 {
            if *reason == why {
                count.increment(1);
            }
        }
    }
}

/// Makes handles that carry the name of the pool.
struct Make<'a>(&'a str);

impl Make<'_> {
    fn labels(&self, more: &[(&'static str, &'static str)]) -> Vec<::metrics::Label> {
        let pool = ::metrics::Label::new("pool", self.0.to_owned());
        let more = more
            .iter()
            .map(|(key, value)| ::metrics::Label::from_static_parts(key, value));
        std::iter::once(pool).chain(more).collect()
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        ::metrics::gauge!(name, self.labels(labels))
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &'static str)]) -> Count {
        Count {
            to: ::metrics::counter!(name, self.labels(labels)),
            value: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    fn timer(&self, name: &'static str) -> Timer {
        Timer {
            to: ::metrics::histogram!(name, self.labels(&[])),
            buckets: Buckets::default(),
            told: Mutex::default(),
        }
    }
}

fn describe() {
    for (name, text) in [
        (CONNECTIONS, "Open connections by state."),
        (MAX_CONNECTIONS, "The most connections that there may be."),
        (WAITERS, "Callers waiting for a connection."),
    ] {
        ::metrics::describe_gauge!(name, Unit::Count, text);
    }
    for (name, text) in [
        (ACQUIRE_SECONDS, "Time to borrow a connection."),
        (HOLD_SECONDS, "Time for which connections were held."),
        (CONNECT_SECONDS, "Time to open a connection."),
        (
            VALIDATE_SECONDS,
            "Time until a connection gave a sign of life.",
        ),
        (QUERY_SECONDS, "Time of a statement."),
    ] {
        ::metrics::describe_histogram!(name, Unit::Seconds, text);
    }
    for (name, text) in [
        (TIMEOUTS, "Borrowing given up, by reason."),
        (
            ACQUIRE_CANCELLED,
            "Callers that went away while they waited.",
        ),
        (CREATED, "Connections opened."),
        (CLOSED, "Connections closed, by reason."),
        (CONNECT_FAILURES, "Connections that failed to open."),
        (ABANDONED, "Connections whose borrower vanished."),
        (LEAKS, "Connections held for too long."),
        (SLOW_QUERIES, "Statements that took too long."),
        (SLOW_ACQUIRES, "Borrowing that took too long."),
        (
            N_PLUS_ONE,
            "Statements repeated in one scope with other values.",
        ),
        (
            DUPLICATES,
            "Reads repeated in one scope with the same values.",
        ),
        (RETRIES, "Transactions run again, by class of the error."),
        (
            STATEMENT_ERRORS,
            "Statements that failed, by class of the error.",
        ),
    ] {
        ::metrics::describe_counter!(name, Unit::Count, text);
    }
}
