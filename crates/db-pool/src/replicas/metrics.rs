//! The metrics of a set of servers; handles are made once, values are published with each answer of a server.

use ::metrics::{Counter, Gauge, Unit};

use super::status::{ServerRole, ServerStatus};

/// Gauge: 1 if the server answers, else 0.
const UP: &str = "db_pool_replica_up";
/// Gauge: 1 on the server that takes writes, else 0.
const PRIMARY: &str = "db_pool_replica_primary";
/// Gauge: bytes of the log that a replica is behind.
const LAG_BYTES: &str = "db_pool_replica_lag_bytes";
/// Gauge: seconds that a replica is behind.
const LAG_SECONDS: &str = "db_pool_replica_lag_seconds";
/// Gauge: how long a statement usually takes.
const LATENCY_SECONDS: &str = "db_pool_replica_latency_seconds";
/// Gauge: lanes lent.
const IN_FLIGHT: &str = "db_pool_replica_in_flight";
/// Gauge: 1 while the server is banned, else 0.
const BANNED: &str = "db_pool_replica_banned";
/// Counter: lanes lent.
const READS: &str = "db_pool_replica_reads_total";
/// Counter: bans.
const BANS: &str = "db_pool_replica_bans_total";
/// Counter: another server became the primary; without label `server`.
const FAILOVERS: &str = "db_pool_replica_failovers_total";

/// One server's handles.
pub(super) struct Metrics {
    up: Gauge,
    primary: Gauge,
    lag_bytes: Gauge,
    lag_seconds: Gauge,
    latency: Gauge,
    in_flight: Gauge,
    banned: Gauge,
    reads: Counter,
    bans: Counter,
}

impl Metrics {
    pub(super) fn new(pool: &str, server: &str) -> Self {
        let (pool, server) = (pool.to_owned(), server.to_owned());
        let gauge = |name: &'static str| ::metrics::gauge!(name, "pool" => pool.clone(), "server" => server.clone());
        let counter = |name: &'static str| ::metrics::counter!(name, "pool" => pool.clone(), "server" => server.clone());
        Self {
            up: gauge(UP),
            primary: gauge(PRIMARY),
            lag_bytes: gauge(LAG_BYTES),
            lag_seconds: gauge(LAG_SECONDS),
            latency: gauge(LATENCY_SECONDS),
            in_flight: gauge(IN_FLIGHT),
            banned: gauge(BANNED),
            reads: counter(READS),
            bans: counter(BANS),
        }
    }

    pub(super) fn publish(&self, status: &ServerStatus) {
        let flag = |is: bool| f64::from(u8::from(is));
        self.up.set(flag(
            status.silent.is_none() && status.role != ServerRole::Unknown,
        ));
        self.primary.set(flag(
            status.silent.is_none() && status.role == ServerRole::Primary,
        ));
        self.lag_bytes
            .set(status.lag_bytes.unwrap_or_default() as f64);
        self.lag_seconds
            .set(status.lag.unwrap_or_default().as_secs_f64());
        self.latency.set(status.latency.as_secs_f64());
        self.in_flight.set(f64::from(status.in_flight));
        self.banned.set(flag(status.banned.is_some()));
        self.reads.absolute(status.reads_total);
        self.bans.absolute(status.bans_total);
    }
}

/// The counter of failovers of the whole set.
pub(super) fn failovers(pool: &str) -> Counter {
    describe();
    ::metrics::counter!(FAILOVERS, "pool" => pool.to_owned())
}

fn describe() {
    for (name, unit, text) in [
        (UP, Unit::Count, "Whether the server answers."),
        (PRIMARY, Unit::Count, "Whether the server takes writes."),
        (LAG_BYTES, Unit::Bytes, "Log that a replica is behind."),
        (LAG_SECONDS, Unit::Seconds, "Time that a replica is behind."),
        (LATENCY_SECONDS, Unit::Seconds, "Usual time of a statement."),
        (IN_FLIGHT, Unit::Count, "Lanes lent by server."),
        (BANNED, Unit::Count, "Whether the server is left alone."),
    ] {
        ::metrics::describe_gauge!(name, unit, text);
    }
    ::metrics::describe_counter!(READS, Unit::Count, "Lanes lent by server.");
    ::metrics::describe_counter!(BANS, Unit::Count, "Bans of a server.");
    ::metrics::describe_counter!(FAILOVERS, Unit::Count, "Changes of the primary.");
}
