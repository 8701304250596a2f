//! What a run measured, whole: histograms, counts by class, a row for each second, and whether it can be believed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::TimelineRow;

/// What a run measured. Times in histograms are microseconds with three significant digits, 1 µs to 60 s; longer ones
/// count as 60 s, none is left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// When the measurement began: after the connections were opened and the warm-up.
    pub began: Instant,
    /// How long was measured; shorter than asked for after an interrupt.
    pub elapsed: Duration,
    /// All routes together.
    pub total: RouteOutcome,
    /// Each route of the mix, in its order.
    pub routes: Vec<RouteOutcome>,
    /// Each second of the measurement, without what a server used in it.
    pub seconds: Vec<TimelineRow>,
    /// What the generator itself used and how late it was.
    pub generator: Generator,
    /// Requests whose time had come but that found no connection until the end (open model) and a grace behind it, a
    /// hundredth of the measurement or 0.1 s.
    pub unsent: u64,
    /// Why the run says nothing about its target; empty for a valid one.
    pub invalid: Vec<Invalid>,
    /// Whether [`Stop`](crate::Stop) ended it early.
    pub interrupted: bool,
}

/// What one route, or all of them, answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteOutcome {
    /// As the mix names it; `total` for all of them.
    pub name: String,
    /// Requests meant to be sent within the measurement that have ended, well or not.
    pub ended: u64,
    /// Those that ended as the mix expects.
    pub succeeded: u64,
    /// The others, by class.
    pub errors: BTreeMap<ErrorClass, u64>,
    /// Answers by status code, expected or not.
    pub statuses: BTreeMap<u16, u64>,
    /// From the intended moment of sending to the last byte. Failures count at the time they took.
    pub response: Histogram<u64>,
    /// From sending to the last byte. In a closed model it equals `response`.
    pub service: Histogram<u64>,
    /// From sending to the first byte; answered requests only.
    pub first_byte: Histogram<u64>,
    /// Bytes received, heads included.
    pub received_bytes: u64,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// No connection could be made.
    Connect,
    /// The connection ended before the whole answer was there.
    Closed,
    /// The answer took longer than the limit.
    Timeout,
    /// What came is not HTTP/1.1.
    Protocol,
    /// A status that the mix does not expect.
    Status,
    /// A body that the mix does not expect.
    Body,
}

/// What the generator used itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generator {
    /// Its threads.
    pub threads: usize,
    /// CPU time of its busiest thread over elapsed time: 1.0 is one whole core.
    pub cpu_share: f64,
    /// From the moment a request was to be sent, a free connection given, to its being sent: how late the generator
    /// itself was. Waiting for a connection is not in it. In microseconds.
    pub send_lag: Histogram<u64>,
}

/// Why a run says nothing about its target.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Invalid {
    /// A generator thread used nearly all of its core, so that the target may not be what was slow.
    GeneratorBusy {
        /// CPU time over elapsed time of the busiest thread.
        cpu_share: f64,
    },
    /// Requests left later than the schedule said although connections were free.
    SendLag {
        /// Which percentile of the lag: the 99th, or the highest that so few requests tell.
        percentile: &'static str,
        /// The lag, in microseconds.
        lag_us: u64,
        /// The most that is accepted, in microseconds.
        limit_us: u64,
    },
    /// The target could not take the rate: requests were still waiting for a connection at the end.
    Unsent {
        /// How many.
        requests: u64,
    },
    /// Not one request ended well.
    NothingSucceeded,
}

/// The percentiles that are told: name, quantile, and the samples without which it would be chance (ten beyond it).
pub(crate) const PERCENTILES: [(&str, f64, u64); 4] = [
    ("p50", 0.5, 1),
    ("p95", 0.95, 200),
    ("p99", 0.99, 1_000),
    ("p999", 0.999, 10_000),
];

/// An empty histogram of microseconds: 139 KB.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds and digits that the crate allows")
}

/// Nanoseconds as a histogram counts them: rounded, at least one.
pub(crate) fn microseconds(nanoseconds: u64) -> u64 {
    (nanoseconds.saturating_add(500) / 1000).max(1)
}

impl Outcome {
    /// Requests that ended well, each second.
    pub fn rate(&self) -> f64 {
        self.total.succeeded as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

impl RouteOutcome {
    pub(crate) fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ended: 0,
            succeeded: 0,
            errors: BTreeMap::new(),
            statuses: BTreeMap::new(),
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            received_bytes: 0,
        }
    }

    /// Takes over what another thread or route counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.succeeded += other.succeeded;
        for (class, count) in &other.errors {
            *self.errors.entry(*class).or_default() += count;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.response += &other.response;
        self.service += &other.service;
        self.first_byte += &other.first_byte;
        self.received_bytes += other.received_bytes;
    }

    /// Requests that did not end as the mix expects.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Body => "body",
        })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GeneratorBusy { cpu_share } => write!(
                f,
                "the generator used {:.0} % of its core; give it more threads or a core of its own",
                cpu_share * 100.0
            ),
            Self::SendLag {
                percentile,
                lag_us,
                limit_us,
            } => write!(
                f,
                "the generator sent late ({percentile} {lag_us} µs, at most {limit_us} µs); lower the rate or free the machine"
            ),
            Self::Unsent { requests } => write!(
                f,
                "{requests} requests never found a free connection: the target cannot sustain this rate"
            ),
            Self::NothingSucceeded => f.write_str("not one request ended well"),
        }
    }
}
