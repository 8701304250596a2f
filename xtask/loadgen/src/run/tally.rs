//! What one generator thread counts, laid out so that counting does not allocate.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender};

use hdrhistogram::Histogram;

use super::connection::Request;
use super::timeline::Row;
use crate::outcome::{histogram, microseconds};
use crate::{ErrorClass, RouteOutcome};

/// Every class, at the index of its number.
const CLASSES: [ErrorClass; 6] = [
    ErrorClass::Connect,
    ErrorClass::Closed,
    ErrorClass::Timeout,
    ErrorClass::Protocol,
    ErrorClass::Status,
    ErrorClass::Body,
];

/// Statuses have three digits.
const STATUSES: usize = 1000;

const SECOND: u64 = 1_000_000_000;

/// The counts of one thread.
#[derive(Debug)]
pub(super) struct Tally {
    routes: Vec<Route>,
    lag: Histogram<u64>,
    /// Whether requests may wait for a connection, so that response and service time differ.
    waits: bool,
    row: Box<Row>,
    row_ends: u64,
    rows: RowLink,
}

/// Where full rows go and empty ones come from. A reader who is too slow loses rows and never delays the thread.
#[derive(Debug)]
pub(super) struct RowLink {
    pub(super) thread: usize,
    pub(super) full: SyncSender<(usize, Box<Row>)>,
    pub(super) empty: Receiver<Box<Row>>,
}

/// The counts of one route.
#[derive(Debug)]
struct Route {
    succeeded: u64,
    errors: [u64; CLASSES.len()],
    statuses: Box<[u64]>,
    response: Histogram<u64>,
    /// Left empty where requests do not wait: there it is the response time.
    service: Histogram<u64>,
    first_byte: Histogram<u64>,
    received: u64,
}

impl Tally {
    pub(super) fn new(routes: usize, waits: bool, rows: RowLink) -> Self {
        Self {
            routes: (0..routes).map(|_| Route::new()).collect(),
            lag: histogram(),
            waits,
            row: Box::default(),
            row_ends: u64::MAX,
            rows,
        }
    }

    /// The measurement begins at `now`.
    pub(super) fn begin(&mut self, now: u64) {
        self.row_ends = now + SECOND;
    }

    /// Closes the row of each second that is over at `now`.
    pub(super) fn roll(&mut self, now: u64) {
        while now >= self.row_ends {
            let mut next = self.rows.empty.try_recv().unwrap_or_default();
            next.t = self.row.t + 1;
            let full = mem::replace(&mut self.row, next);
            // A lost row leaves a gap in the timeline and nothing else: the totals are not made of rows.
            let _ = self.rows.full.try_send((self.rows.thread, full));
            self.row_ends += SECOND;
        }
    }

    /// A request was sent so many nanoseconds later than it could have been.
    pub(super) fn sent(&mut self, lag: u64) {
        self.lag.saturating_record(microseconds(lag));
        self.row.lag.saturating_record(microseconds(lag));
    }

    /// A request got its whole answer, which is wrong by `class` or right.
    pub(super) fn answered(
        &mut self,
        request: &Request,
        end: u64,
        status: u16,
        class: Option<ErrorClass>,
    ) {
        let route = &mut self.routes[request.route];
        let first_byte = microseconds(request.first_byte.saturating_sub(request.sent));
        route.first_byte.saturating_record(first_byte);
        route.received += request.received;
        if let Some(count) = route.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
        match class {
            None => route.succeeded += 1,
            Some(class) => route.errors[class as usize] += 1,
        }
        self.time(request, end, class.is_some());
    }

    /// A request got no whole answer.
    pub(super) fn failed(&mut self, request: &Request, end: u64, class: ErrorClass) {
        let route = &mut self.routes[request.route];
        route.received += request.received;
        route.errors[class as usize] += 1;
        self.time(request, end, true);
    }

    fn time(&mut self, request: &Request, end: u64, failed: bool) {
        self.roll(end);
        let route = &mut self.routes[request.route];
        let response = microseconds(end.saturating_sub(request.intended));
        route.response.saturating_record(response);
        if self.waits {
            route
                .service
                .saturating_record(microseconds(end.saturating_sub(request.sent)));
        }
        self.row.response.saturating_record(response);
        self.row.ended += 1;
        self.row.failed += u64::from(failed);
    }

    /// The routes, named in their order, and the lag.
    pub(super) fn finish(mut self, names: &[String]) -> (Vec<RouteOutcome>, Histogram<u64>) {
        self.row.is_last = true;
        // The last row waits for its reader: nothing is paced any more. It fails only if nobody reads.
        let _ = self.rows.full.send((self.rows.thread, self.row));
        let routes = self.routes.into_iter().zip(names);
        (
            routes
                .map(|(route, name)| route.outcome(name, self.waits))
                .collect(),
            self.lag,
        )
    }
}

impl Route {
    fn new() -> Self {
        Self {
            succeeded: 0,
            errors: [0; CLASSES.len()],
            statuses: vec![0; STATUSES].into(),
            response: histogram(),
            service: histogram(),
            first_byte: histogram(),
            received: 0,
        }
    }

    fn outcome(self, name: &str, waits: bool) -> RouteOutcome {
        let errors = CLASSES
            .into_iter()
            .zip(self.errors)
            .filter(|(_, count)| *count > 0)
            .collect();
        let statuses = (0..)
            .zip(self.statuses)
            .filter(|(_, count)| *count > 0)
            .collect();
        RouteOutcome {
            name: name.to_owned(),
            ended: self.response.len(),
            succeeded: self.succeeded,
            errors,
            statuses,
            service: if waits {
                self.service
            } else {
                self.response.clone()
            },
            response: self.response,
            first_byte: self.first_byte,
            received_bytes: self.received,
        }
    }
}
