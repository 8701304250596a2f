//! What a run measured, whole: histograms, counts by class, a row for each second, and whether it can be believed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// What a run measured. Times in histograms are microseconds with three significant digits, 1 µs to 60 s; longer ones
/// count as 60 s, none is left out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// How long was measured; shorter than asked for after an interrupt.
    pub elapsed: Duration,
    /// All routes together.
    pub total: RouteOutcome,
    /// Each route of the mix, in its order.
    pub routes: Vec<RouteOutcome>,
    /// Each second of the measurement.
    pub seconds: Vec<Second>,
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
    /// Requests sent within the measurement that have ended, well or not.
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

/// One second of a run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Second {
    /// Whole seconds since the measurement began.
    pub at_s: u64,
    /// Requests that ended in this second, well or not.
    pub ended: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Median of the response time, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of the response time, in microseconds.
    pub p99_us: u64,
    /// 99th percentile of how late requests were sent, in microseconds (open model).
    pub send_lag_p99_us: u64,
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
        /// 99th percentile of the lag, in microseconds.
        p99_us: u64,
        /// The most that is accepted, in microseconds.
        limit_us: u64,
    },
    /// The target could not take the rate: requests were still waiting for a connection at the end.
    Unsent {
        /// How many.
        requests: u64,
    },
    /// Not one request ended.
    NothingEnded,
}

/// An empty histogram of microseconds: 139 KB.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds and digits that the crate allows")
}

/// Nanoseconds as a histogram counts them: rounded, at least one.
pub(crate) fn microseconds(nanoseconds: u64) -> u64 {
    ((nanoseconds + 500) / 1000).max(1)
}

impl Outcome {
    /// Requests that ended well, each second.
    pub fn rate(&self) -> f64 {
        self.total.succeeded as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Whether the run can be believed. A valid run may still be full of errors: see [`RouteOutcome::errors`].
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
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
            Self::SendLag { p99_us, limit_us } => write!(
                f,
                "the generator sent late (p99 {p99_us} µs, at most {limit_us} µs); lower the rate or free the machine"
            ),
            Self::Unsent { requests } => write!(
                f,
                "{requests} requests never found a free connection: the target cannot sustain this rate"
            ),
            Self::NothingEnded => f.write_str("not one request ended"),
        }
    }
}
